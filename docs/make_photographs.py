"""Make docs/photographs.png: the example photograph and edits of it, as the page beside it says."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from eggan.cli import main
from eggan.edit import EXAMPLE_PHOTOGRAPH

EDITS = (
    ("--expression", "neutral"),
    ("--au", "45=5", "--keep"),
    ("--au", "1=4", "--au", "2=4", "--au", "5=4"),
    ("--expression", "angry"),
)
PART = (135, 30, 315, 210)  # left, top, right, bottom
TARGET = Path(__file__).parent / "photographs.png"


def make() -> None:
    """Write the picture: parts of the source and of each edit, beside each other."""
    shown = [Image.open(EXAMPLE_PHOTOGRAPH).crop(PART)]
    with tempfile.TemporaryDirectory() as folder:
        for number, words in enumerate(EDITS):
            path = f"{folder}/{number}.png"
            assert main(["edit", str(EXAMPLE_PHOTOGRAPH), *words, "-o", path]) == 0
            shown.append(Image.open(path).crop(PART))
    Image.fromarray(np.concatenate([np.asarray(part) for part in shown], axis=1)).save(TARGET, optimize=True)


if __name__ == "__main__":
    make()
