"""Edit a face with a file of `eggan export onnx`, and nothing but onnxruntime, NumPy and Pillow.

    eggan export onnx -o eggan_w.onnx
    python docs/examples/edit_onnx.py eggan_w.onnx face.png --au 12=4 --au 6=3 -o smile.png

The picture is one face, framed as the file's metadata entry `framing` says. A file that gives flow, colour
and paint (EGGAN-W) is composed at the picture's own size, any other one at the size of its network.
"""

import argparse
import json

import numpy as np
import onnxruntime
from PIL import Image


def main() -> None:
    """Write one edited picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="the .onnx file")
    parser.add_argument("image", help="picture of one face")
    parser.add_argument("--au", action="append", default=[], metavar="N=INTENSITY", help="0 to 5; repeat it")
    parser.add_argument("-o", "--output", default="edit.png")
    given = parser.parse_args()
    session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    with Image.open(given.image) as picture:
        image = picture.convert("RGB")
    edit = edited(session, image, dict(text.split("=") for text in given.au))
    edit.save(given.output)
    print(f"wrote {given.output}")


def edited(session: onnxruntime.InferenceSession, image: Image.Image, aus: dict[str, str]) -> Image.Image:
    """Return the face with the AUs {"12": "4"}, every other one 0."""
    card = session.get_modelmeta().custom_metadata_map
    inputs = json.loads(card["inputs"])
    if set(inputs) != {"source", "target_aus"}:
        raise SystemExit(f"this example knows files that read AUs; this one reads {', '.join(inputs)}")
    side = inputs["source"]["shape"][-1]
    order, (low, high) = json.loads(card["au_order"]), inputs["target_aus"]["range"]
    target = np.zeros((1, len(order)), np.float32)
    for number, intensity in aus.items():
        if f"AU{number}" not in order or not low <= float(intensity) <= high:
            raise SystemExit(f"{number}={intensity} is none of {', '.join(order)} from {low:g} to {high:g}")
        target[0, order.index(f"AU{number}")] = float(intensity)
    small = image.resize((side, side), Image.Resampling.BILINEAR)
    names = [output.name for output in session.get_outputs()]
    answers = session.run(names, {"source": to_planes(small)[None], "target_aus": target})
    parts = {name: answer[0] for name, answer in zip(names, answers, strict=True)}
    return to_image(composed(to_planes(image), parts) if "flow" in parts else parts["edit"])


def to_planes(image: Image.Image) -> np.ndarray:
    """Return a picture as float32 (3, H, W) in [-1, 1]."""
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1


def to_image(planes: np.ndarray) -> Image.Image:
    """Return (3, H, W) in [-1, 1] as a picture."""
    return Image.fromarray(np.uint8(np.rint((planes.clip(-1, 1) + 1) * 127.5)).transpose(1, 2, 0))


def composed(picture: np.ndarray, parts: dict[str, np.ndarray]) -> np.ndarray:
    """Return (1 - paint) * moved + paint * colour at the size of `picture` (3, H, W)."""
    height, width = picture.shape[1:]
    flow, colour, paint = (enlarged(parts[name], width, height) for name in ("flow", "colour", "paint"))
    x = np.arange(width) + flow[0] * width / 2
    y = np.arange(height)[:, None] + flow[1] * height / 2
    return (1 - paint) * sampled(picture, x, y) + paint * colour


def enlarged(planes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return planes (C, H, W) at another size, bilinear."""
    bilinear = Image.Resampling.BILINEAR
    return np.stack([Image.fromarray(plane).resize((width, height), bilinear) for plane in planes])


def sampled(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return picture (3, H, W) at the places x, y (H, W), bilinear; beyond the border it goes on as there."""
    x, y = x.clip(0, picture.shape[2] - 1), y.clip(0, picture.shape[1] - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = np.minimum(left + 1, picture.shape[2] - 1), np.minimum(top + 1, picture.shape[1] - 1)
    across, down = x - left, y - top
    upper = (1 - across) * picture[:, top, left] + across * picture[:, top, right]
    lower = (1 - across) * picture[:, below, left] + across * picture[:, below, right]
    return (1 - down) * upper + down * lower


if __name__ == "__main__":
    main()
