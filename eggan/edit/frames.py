"""Frames of an interpolation: beside each other in one picture, or one after another in an animation."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eggan.data.decoding import MAX_PIXELS
from eggan.errors import UserError
from eggan.pictures import MOVING, same_colours

GAP = 2  # white pixels between the frames of a strip
FRAME_MS, REST_MS = 40, 600  # of a frame, and of the first and the last one
RATE = 1000 // FRAME_MS
BT_709 = 1  # in all of the numbers that say what the colours of a video are
NO_PROFILE = ("GIF", "MP4")
ON_WHITE = "on white: they hold no transparency"
# What frames make of a mode
IN_RGB = {"RGBA": ON_WHITE, "LA": ON_WHITE, "CMYK": "in RGB", "I;16": "with 8 bits"}
Box = tuple[int, int, int, int]  # left, top, right, bottom


class Frames(Sequence[np.ndarray]):
    """Frames of one photograph, uint8 (H, W, 3), of which only what differs from it is kept.

    `patches` has the boxes and their pixels (h, w, 3) of each frame, one of each face that is edited.
    """

    def __init__(self, photograph: np.ndarray, patches: Sequence[Sequence[tuple[Box, np.ndarray]]]) -> None:
        self._photograph = photograph
        self._patches = patches

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, place: Any) -> Any:
        frame = self._photograph.copy()
        for (left, top, right, bottom), patch in self._patches[place]:
            inside = (slice(top, bottom), slice(left, right))
            changed = patch != self._photograph[inside]
            frame[inside][changed] = patch[changed]
        return frame


def check_frames(path: Path, steps: int, shape: tuple[int, ...]) -> None:
    """Raise a `UserError` where `steps` frames (H, W, 3) are more than the form of `path` can take."""
    kind = MOVING.get(path.suffix.lower(), "a strip")
    pixels = shape[0] * shape[1] * (steps + 1)
    if kind != "MP4" and pixels > MAX_PIXELS:
        million = MAX_PIXELS // 1_000_000
        raise UserError(
            f"{path}: {steps} frames of {shape[1]} x {shape[0]} pixels are more than the {million} million "
            f"pixels of {kind}: lower --steps, or write .mp4"
        )
    if kind == "MP4" and importlib.util.find_spec("av") is None:
        raise UserError("MP4 needs PyAV: pip install 'eggan[video]', or write .gif or .webp")


def fitting_profile(mode: str, icc: bytes, kind: str | None) -> bytes:
    """Return the colour profile that frames have of a photograph's: one of RGB, where `kind` holds it."""
    return icc if same_colours(mode, "RGB") and kind not in NO_PROFILE else b""


def not_kept(mode: str, icc: bytes, kind: str | None) -> list[str]:
    """Return what frames do not hold of a photograph; each completes "the frames are ..."."""
    notes = [IN_RGB[mode]] if mode in IN_RGB else []
    if icc and not fitting_profile(mode, icc, kind):
        reason = f"{kind} holds none" if kind in NO_PROFILE else f"it is one of {mode}, they are RGB"
        notes.append(f"without the photograph's colour profile: {reason}")
    return notes


def strip(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Return frames (H, W, 3) beside each other on white: uint8 (H, K * (W + gap) - gap, 3)."""
    gap = np.full((frames[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    parts = [part for frame in frames for part in (frame, gap)]
    return np.concatenate(parts[:-1], axis=1)


def write_animation(frames: Frames, path: Path, kind: str, icc: bytes = b"") -> None:
    """Write frames, uint8 (H, W, 3), that go to the end and back: a GIF or WebP that repeats, or an MP4.

    `icc` is a colour profile for WebP.
    """
    if kind == "MP4":
        _write_video(frames, path)
        return
    images = _with_one_palette(frames) if kind == "GIF" else [Image.fromarray(frame) for frame in frames]
    order, rests = _there_and_back(len(frames))
    options: dict[str, Any] = {"disposal": 1} if kind == "GIF" else {"quality": 90, "method": 3}
    if icc:
        options |= {"icc_profile": icc}
    moving = [images[k] for k in order]
    moving[0].save(path, kind, save_all=True, append_images=moving[1:], duration=rests, loop=0, **options)


def _there_and_back(count: int) -> tuple[list[int], list[int]]:
    """Return the order of frames, and how long each is seen in ms."""
    order = [*range(count), *range(count - 2, 0, -1)]
    return order, [REST_MS if k in (0, count - 1) else FRAME_MS for k in order]


def _with_one_palette(frames: Frames) -> list[Image.Image]:
    """Return frames in the 256 colours that suit the first and the last of them.

    A pixel that is as in the first frame has its index too: dithered anew, what does not move would flicker.
    """
    first = frames[0]
    ends = Image.fromarray(np.concatenate([first, frames[-1]]))
    palette = ends.quantize(256, Image.Quantize.MEDIANCUT)
    still = np.asarray(Image.fromarray(first).quantize(palette=palette))
    images = []
    for frame in frames:
        dithered = np.asarray(Image.fromarray(frame).quantize(palette=palette))
        index = np.where((frame == first).all(axis=2), still, dithered)
        images.append(Image.fromarray(index.astype(np.uint8), "P"))
        images[-1].putpalette(palette.getpalette() or [])
    return images


def _write_video(frames: Frames, path: Path) -> None:
    import av

    order, rests = _there_and_back(len(frames))
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "17", "preset": "medium"})
        stream.height, stream.width = _even(frames[0]).shape[:2]
        stream.pix_fmt = "yuv420p"
        # Untagged, players guess the colours by the size.
        stream.codec_context.colorspace = stream.codec_context.color_primaries = BT_709
        stream.codec_context.color_trc = stream.codec_context.color_range = BT_709
        for k, rest in zip(order, rests, strict=True):
            picture = av.VideoFrame.from_ndarray(_even(frames[k]), format="rgb24")
            for _ in range(rest // FRAME_MS):
                coded = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                container.mux(stream.encode(coded))
        container.mux(stream.encode(None))


def _even(frame: np.ndarray) -> np.ndarray:
    """Return a frame of even sides, its edges repeated: colours are stored for blocks of 2 x 2 pixels."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
