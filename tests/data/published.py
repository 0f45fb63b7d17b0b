"""Writers of the published formats: RaFD and MMI trees, OpenFace's CSV files, a program acting as OpenFace.

Everything is written from rows of a dataset, so that what must come out is known.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.data.dataset import Dataset

MODELS = ((28, "Caucasian_male"), (73, "Kid_female"))  # number and tokens of RaFD's names, by person
REGRESSED = [f"AU{number:02d}_r" for number in AU_NUMBERS]
CLASSIFIED = [f"AU{number:02d}_c" for number in sorted([*AU_NUMBERS, 28])]
IMAGE_HEAD = ["face", "confidence"]
SEQUENCE_HEADS = {  # as RecorderCSV.cpp of each version writes them
    "2.0": ["frame", "timestamp", "confidence", "success"],
    "2.1": ["frame", "face_id", "timestamp", "confidence", "success"],
    "2.2": ["frame", "face_id", "timestamp", "confidence", "success"],
}
POSE = ["pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"]
SEPARATORS = {"2.0": ", ", "2.1": ", ", "2.2": ","}


def rafd_identity(model: tuple[int, str]) -> str:
    """Return the identity that a dataset gives to a model."""
    return f"rafd-{model[0]:02d}"


def rafd_name(model: tuple[int, str], expression: str, gaze: str, camera: str = "090") -> str:
    """Return a file name as published, without suffix."""
    return f"Rafd{camera}_{model[0]:02d}_{model[1]}_{expression}_{gaze}"


def on_portrait(image: np.ndarray) -> np.ndarray:
    """Return a square image in the middle of a portrait one, RaFD's format (681 x 1024)."""
    size = len(image)
    canvas = np.full((size * 3 // 2, size, 3), 255, np.uint8)
    canvas[size // 4 : size // 4 + size] = image
    return canvas


def write_rafd(direct: Dataset, root: Path, suffix: str = ".jpg") -> list[str]:
    """Write a RaFD tree and return its file names, in the dataset's order."""
    root.mkdir(parents=True)
    models = {rafd_identity(model): model for model in MODELS}
    names = []
    for row, image in zip(direct.manifest.itertuples(), direct.images, strict=True):
        names.append(rafd_name(models[row.identity], row.expression, row.gaze) + suffix)
        Image.fromarray(on_portrait(image)).save(root / names[-1], quality=95, subsampling=0)
    return names


def write_split(direct: Dataset, path: Path) -> Path:
    """Write who is in which split, as --split takes it."""
    people = direct.manifest[["identity", "split"]].drop_duplicates()
    people.to_csv(path, index=False)
    return path


def au_texts(aus: Iterable[float]) -> list[str]:
    """Return intensities as text; three digits hold SynFACS's labels exactly (OpenFace itself writes two)."""
    return [f"{value:.3f}" for value in aus]


def openface_text(
    rows: Sequence[Sequence[str]], head: Sequence[str], version: str = "2.2", pose: bool = False
) -> str:
    """Return a CSV file; each row is the values under `head`, then 17 intensities."""
    separator = SEPARATORS[version]
    extra = POSE if pose else []
    lines = [separator.join([*head, *extra, *REGRESSED, *CLASSIFIED])]
    for row in rows:
        start, aus = list(row[: len(head)]), list(row[len(head) :])
        presence = ["1.0" if float(value) > 1 else "0.0" for value in [*aus, "0"]]
        lines.append(separator.join([*start, *["0.000"] * len(extra), *aus, *presence]))
    return "\n".join(lines) + "\n"


def image_text(aus: Iterable[float], version: str = "2.2") -> str:
    """Return FaceLandmarkImg's file of an image with one face."""
    return openface_text([["0", "0.975", *au_texts(aus)]], IMAGE_HEAD, version)


def sequence_text(aus: Sequence[Sequence[float] | None], version: str = "2.2", pose: bool = False) -> str:
    """Return FeatureExtraction's file of a video; None stands for a frame without a face."""
    head = SEQUENCE_HEADS[version]
    rows = []
    for number, values in enumerate(aus, start=1):
        face = [] if "face_id" not in head else ["0"]
        confidence = ["0.03", "0"] if values is None else ["0.98", "1"]
        intensities = ["0.00"] * 17 if values is None else au_texts(values)
        rows.append([str(number), *face, f"{number / 25:.3f}", *confidence, *intensities])
    return openface_text(rows, head, version, pose)


def write_image_labels(names: Sequence[str], aus: np.ndarray, folder: Path, version: str = "2.2") -> Path:
    """Write FaceLandmarkImg's files of many images."""
    folder.mkdir(parents=True)
    for name, values in zip(names, aus, strict=True):
        (folder / f"{Path(name).stem}.csv").write_text(image_text(values, version))
    return folder


def write_table(
    path: Path, files: Sequence[str], aus: np.ndarray, columns: dict[str, Sequence[str]] | None = None
) -> Path:
    """Write a plain table of labels."""
    extra = columns or {}
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *extra, *AU_COLUMNS])
        for number, (file, values) in enumerate(zip(files, aus, strict=True)):
            writer.writerow([file, *(column[number] for column in extra.values()), *au_texts(values)])
    return path


def write_avi(path: Path, images: Sequence[np.ndarray], codec: str = "ffv1", pixels: str = "bgr0") -> Path:
    """Write a real AVI file; FFV1 in bgr0 loses nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        if codec == "mjpeg":
            stream.codec_context.qmin = stream.codec_context.qmax = 1
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    return path


def write_session(
    root: Path,
    number: int,
    subject: int,
    images: Sequence[np.ndarray],
    emotion: int | None = 4,
    view: str = "0",
    units: dict[int, dict[int, int]] | None = None,
    codec: str = "ffv1",
) -> Path:
    """Write one session of MMI; `units` holds phase by frame (from 1) of each coded AU."""
    folder = root / "Sessions" / str(number)
    name = f"S{subject:03d}-{number:03d}"
    pixels = "bgr0" if codec == "ffv1" else "yuvj444p"
    write_avi(folder / f"{name}.avi", images, codec, pixels)
    (folder / "session.xml").write_text(
        f'<?xml version="1.0"?><session sessionId="{number}"><subject id="{subject}"/>'
        f'<track type="Video" view="{view}" filename="{name}.avi"/></session>'
    )
    if emotion is not None:
        (folder / f"{name}.xml").write_text(
            '<MetatagSet><Metatag Name="Comments" Value=""/>'
            f'<Metatag Name="Emotion" Value="{emotion}"/></MetatagSet>'
        )
    if units is not None:
        coded = "".join(
            f'<ActionUnit Number="{au}">'
            + "".join(f'<Marker Frame="{frame}" Type="{phase}"/>' for frame, phase in markers.items())
            + "</ActionUnit>"
            for au, markers in units.items()
        )
        (folder / f"{name}-oao_aucs.xml").write_text(f"<ActionUnitCoding>{coded}</ActionUnitCoding>")
    return folder


FAKE = '''#!{python}
"""Acts as OpenFace 2.2's {name}: answers by content, exits at what it cannot open, logs its calls."""
import hashlib, json, os, sys
from pathlib import Path

here = Path(__file__).resolve().parent
words = sys.argv[1:]
files = [Path(words[i + 1]) for i, word in enumerate(words) if word == "-f"]
out = Path(words[words.index("-out_dir") + 1])
assert "-aus" in words
with (here / "calls.log").open("a") as log:
    log.write(json.dumps([{name!r}, len(files), "-au_static" in words]) + "\\n")
if (here / "broken").exists():
    sys.exit("ERROR: could not load the models")
answers = json.loads((here / "answers.json").read_text())
out.mkdir(parents=True, exist_ok=True)


def contents(file):
    if {name!r} == "FaceLandmarkImg":
        return [file.read_bytes()]
    import av
    with av.open(str(file)) as video:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in video.decode(video=0)]


for file in files:
    try:
        keys = [hashlib.sha256(content).hexdigest() for content in contents(file)]
        texts = [answers.get(key) for key in keys]
        assert "unreadable" not in texts
    except Exception:
        sys.exit("ERROR: Could not open the image: " + file.name)
    if "crash" in texts:
        (out / (file.stem + ".csv")).write_text("face,confi")
        os.abort()
    if {name!r} == "FaceLandmarkImg":
        if texts[0]:
            (out / (file.stem + ".csv")).write_text(texts[0])
        continue
    head = answers["head"]
    lines = []
    for number, text in enumerate(texts, start=1):
        found = text is not None
        start = [str(number), "0", "%.3f" % (number / 25), "0.98" if found else "0.02", "1" if found else "0"]
        lines.append(",".join(start) + "," + (text if found else answers["zeros"]))
    (out / (file.stem + ".csv")).write_text("\\n".join([head, *lines]) + "\\n")
'''


class FakeOpenFace:
    """A folder with both programs; answers are set beforehand, calls are read afterwards."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        head = openface_text([], SEQUENCE_HEADS["2.2"]).strip()
        self.answers = {"head": head, "zeros": ",".join(["0.00"] * (len(REGRESSED) + len(CLASSIFIED)))}
        for name in ("FaceLandmarkImg", "FeatureExtraction"):
            (folder / name).write_text(FAKE.format(python=sys.executable, name=name))
            (folder / name).chmod(0o755)
        self._store()

    def answer_image(self, path: Path, text: str | None) -> None:
        """Say what is written for an image file; None: no face, so no file."""
        self.answers[hashlib.sha256(path.read_bytes()).hexdigest()] = text
        self._store()

    def answer_images(self, paths: Iterable[Path], aus: np.ndarray) -> None:
        """Say which AUs are read from image files."""
        for path, values in zip(paths, aus, strict=True):
            self.answers[hashlib.sha256(path.read_bytes()).hexdigest()] = image_text(values)
        self._store()

    def answer_frames(self, images: Iterable[np.ndarray], aus: np.ndarray) -> None:
        """Say which AUs are read from frames, by their pixels."""
        for image, values in zip(images, aus, strict=True):
            line = ",".join([*au_texts(values), *["0.0"] * len(CLASSIFIED)])
            self.answers[hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()] = line
        self._store()

    def refuse_frame(self, image: np.ndarray) -> None:
        """Say that the program ends where it meets a frame."""
        self.answers[hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()] = "unreadable"
        self._store()

    def calls(self) -> list[list]:
        """Return [program, number of inputs, static] of each call so far."""
        log = self.folder / "calls.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _store(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
