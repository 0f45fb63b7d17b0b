"""What is whole before the campaign damages copies of it: a dataset, a checkpoint, exported frames."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.suites.presets import resolve, trainable
from eggan.config import to_dict
from eggan.data.dataset import write_dataset
from tests.campaigns.subjects import command
from tests.conftest import TINY_TRAINING, tiny_manifest

RESULTS = Path(__file__).parents[2] / "reports" / "results"


def prepare(home: Path) -> None:
    """Make, once, the whole dataset, photograph, checkpoint and frames that attempts damage copies of."""

    home.mkdir(parents=True)
    manifest = tiny_manifest()
    images = np.random.default_rng(1).integers(0, 256, (len(manifest), 64, 64, 3), dtype=np.uint8)
    write_dataset(home / "tiny", "tiny", manifest, images, seed=0, parameters={}, version="1")
    Image.fromarray(images[-1]).save(home / "face.png")
    words = [
        "train",
        "eggan",
        "--dataset",
        home / "tiny",
        "--preset",
        "quick",
        "--offline",
        "--device",
        "cpu",
    ]
    command(*words, "--runs", home / "runs", "--out", home / "m", *TINY_TRAINING)
    sets = TINY_TRAINING[1::2]

    (home / "config.json").write_text(json.dumps(to_dict(resolve(trainable("eggan"), "quick", None, sets))))
    _small_frame(home / "frame", "standard")
    shutil.copytree(RESULTS / "loss-weights-pareto", home / "study")
    for path in (home / "study").glob("*.parquet"):
        pd.read_parquet(path).head(20).to_parquet(path, index=False)


def _small_frame(folder: Path, name: str) -> None:
    folder.mkdir()
    for path in (RESULTS / name).glob("*.parquet"):
        pd.read_parquet(path).head(20).to_parquet(folder / path.name, index=False)
    shutil.copy(RESULTS / name / "frame.json", folder / "frame.json")
    (folder / "showcases").mkdir()
    first = min((RESULTS / name / "showcases").glob("*.npz"))
    with np.load(first) as arrays:
        np.savez(folder / "showcases" / first.name, **{key: arrays[key][..., :4] for key in arrays.files})
