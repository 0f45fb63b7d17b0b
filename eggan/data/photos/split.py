"""Splits of photographs by identity: seeded, or given as a file."""

from collections.abc import Iterable
from pathlib import Path

from eggan.data.dataset import SPLITS
from eggan.data.file_tree import comparable
from eggan.data.labels.csv_rows import read_rows
from eggan.errors import UserError, known_names
from eggan.randomness import numpy_generator


def split_identities(identities: Iterable[str], test: int, val: int, seed: int) -> dict[str, str]:
    """Assign each identity to train, val or test, at random by `seed`; the order of input does not matter.

    The paper's 58 training identities of RaFD are train and val together: val serves selection only.
    """
    names = sorted(set(identities))
    if test < 0 or val < 0 or test + val >= len(names):
        raise UserError(
            f"{len(names)} people cannot give {test} for testing, {val} for validation and one for training: "
            "say how many with --test and --val, or who with --split"
        )
    order = numpy_generator("photo split", seed).permutation(len(names))
    split = dict.fromkeys(names, "train")
    split |= {names[index]: "test" for index in order[:test]}
    split |= {names[index]: "val" for index in order[test : test + val]}
    return split


def read_split(path: Path) -> dict[str, str]:
    """Read a CSV with the columns identity and split; an unknown split or a person twice is a `UserError`."""
    header, rows = read_rows(path)
    if {"identity", "split"} - set(header):
        raise UserError(f"{path} needs the columns identity and split")
    split: dict[str, str] = {}
    for row in rows:
        name, where = comparable(row["identity"]), row["split"]
        if where not in SPLITS:
            raise UserError(f"{row.where}: unknown split {where!r}{known_names(where, SPLITS)}")
        if split.setdefault(name, where) != where:
            raise UserError(f"{row.where}: {name!r} is in two splits")
    return split
