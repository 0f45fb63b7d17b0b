"""Faces that are drawn in milliseconds, for checks that need a dataset and no likeness."""

from pathlib import Path

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, AU_COUNT, EXPRESSIONS
from eggan.data.dataset import Dataset, load_dataset, write_dataset

RAISED, WIDENED = 0, 8  # positions of AU1, which moves the dark bar, and AU12, which widens the bright one


def drawn_faces(
    folder: Path,
    identities: int = 4,
    per_identity: int = 4,
    size: int = 64,
    test: int = 1,
    colours: int = 0,
    grouped: bool = False,
) -> Dataset:
    """Write and open a dataset of grey faces in a colour of their identity; the last `test` people test.

    Pictures of one identity differ in AU1 and AU12 alone: `grouped` says so in the manifest. `colours` seeds
    the draws.
    """
    rng = np.random.default_rng(colours)
    rows, images = [], []
    for identity in range(identities):
        colour = rng.uniform(60, 200, 3)
        for k in range(per_identity):
            aus = np.zeros(AU_COUNT)
            aus[[RAISED, WIDENED]] = rng.integers(0, 6, 2)
            rows.append([f"id{identity:02d}", EXPRESSIONS[k % len(EXPRESSIONS)], "frontal", *aus])
            images.append(_draw(colour, aus, size))
    manifest = pd.DataFrame(rows, columns=["identity", "expression", "gaze", *AU_COLUMNS])
    split = ["test" if int(name[2:]) >= identities - test else "train" for name in manifest["identity"]]
    manifest = manifest.assign(
        split=split, label_tool="drawn", label_version="1", confidence=1.0, source_file=""
    )
    if grouped:
        manifest = manifest.assign(edit_group=manifest["identity"].str[2:].astype(np.int64))
    write_dataset(folder, "tiny", manifest, np.stack(images), 0, {}, "1")
    return load_dataset(folder)


def _draw(colour: np.ndarray, aus: np.ndarray, size: int) -> np.ndarray:
    image = np.broadcast_to(colour, (size, size, 3)).astype(np.uint8).copy()
    middle, half, brow = size // 2, 4 + 4 * int(aus[WIDENED]), size // 3 - 3 * int(aus[RAISED])
    image[3 * size // 4 : 3 * size // 4 + 6, middle - half : middle + half] = 250
    image[brow : brow + 5, size // 4 : 3 * size // 4] = 10
    return image
