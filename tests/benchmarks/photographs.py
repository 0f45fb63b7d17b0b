"""What a benchmark on photographs needs: a dataset that is not SynFACS, an OpenFace, weights of LightCNN.

The program as OpenFace reads the painted bands of `fakes` and writes what OpenFace 2.2's FaceLandmarkImg
writes. It finds no face in a wide smile (AU12 above 3.5), as the real one fails on some faces.
"""

import sys
from pathlib import Path

import torch

from baselines.lightcnn import LightCNN9, build_network, embed, framed, to_grey
from benchmarks.protocol.protocol_config import Protocol
from eggan.aus import AU_NUMBERS
from eggan.checkpoint import ModelCard, save_checkpoint
from eggan.data.dataset import Dataset
from eggan.evaluation.reading import images_of
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from tests.baselines.filling import fill
from tests.benchmarks.fakes import BAND, make_dataset

SPLITS = {"train": 4, "val": 1, "test": 2}
COLUMNS = ("face", "confidence", *(f"AU{n:02d}_r" for n in AU_NUMBERS),
           *(f"AU{n:02d}_c" for n in sorted((*AU_NUMBERS, 28))))  # fmt: skip
UNREAD = AU_NUMBERS.index(12), 3.5
PROTOCOL = Protocol(
    name="tiny-photographs",
    splits=("test", "wide"),
    pairs=12,
    probe_sources=1,
    sequences=6,
    alphas=3,
    showcase=1,
)

OPENFACE = """#!{python}
import sys
from pathlib import Path

import numpy as np
from PIL import Image

words, here = sys.argv[1:], Path(__file__).resolve().parent
assert "-aus" in words
files = [Path(words[i + 1]) for i, word in enumerate(words) if word == "-f"]
out = Path(words[words.index("-out_dir") + 1])
out.mkdir(parents=True, exist_ok=True)
with (here / "calls.log").open("a") as log:
    log.write("".join(file.name + "\\n" for file in files))
for file in files:
    image = np.asarray(Image.open(file).convert("RGB"), dtype=float)
    assert image.shape == (256, 256, 3)
    rows = image[:, :, 0].reshape(-1, 4, 256)[: 17 * {band}].reshape(17, {band}, 4, 256)
    aus = np.clip(rows[:, 1, 1:3].mean(axis=(1, 2)) / 50, 0, 5)
    if aus[{column}] > {limit}:
        print("WARNING: no face detected in", file.name)
        continue
    values = ["0", "0.975", *(f"{{au:.2f}}" for au in aus), *(f"{{au > 1:.1f}}" for au in [*aus, 0])]
    (out / (file.stem + ".csv")).write_text({header!r} + "\\n" + ",".join(values) + "\\n")
"""


def write_openface(folder: Path) -> Path:
    """Write the program FaceLandmarkImg into `folder` and return the folder; `calls` lists what it read."""
    folder.mkdir(parents=True)
    header = ",".join(COLUMNS)
    program = folder / "FaceLandmarkImg"
    column, limit = UNREAD
    program.write_text(
        OPENFACE.format(python=sys.executable, band=BAND, column=column, limit=limit, header=header)
    )
    program.chmod(0o755)
    return folder


def calls(folder: Path) -> list[str]:
    """Return the names of the images that the program has read so far."""
    log = folder / "calls.log"
    return log.read_text().split() if log.exists() else []


def write_lightcnn(folder: Path, faces: Dataset) -> Path:
    """Write LightCNN-9, deterministic, with a mean embedding of some `faces` of 0, and return the folder.

    Filled weights alone give any two images a cosine above 0.9; so moved they tell people apart.
    """
    network = fill(build_network("9"))
    assert isinstance(network, LightCNN9)
    with torch.no_grad():
        images = framed(images_of(faces.images[faces.rows("train")[::4]], "cpu"), EYE_LINE, EYE_DISTANCE)
        bias = network.fc1.filter.bias
        assert bias is not None
        bias -= network(to_grey(images)).mean(0).repeat(2)
        assert embed(network, images).mean(0).norm() < 0.5
    save_checkpoint(folder, ModelCard("lightcnn", 1, {"variant": "9"}, 128), network.state_dict())
    return folder


def write_photographs(folder: Path, name: str = "rafd", **options: object) -> Dataset:
    """Write a dataset as `eggan data build` makes it of photographs: no splits but train, val and test."""
    return make_dataset(
        folder, SPLITS, name=name, gazes=("frontal",), parameters={"align": "face"}, **options
    )
