"""Fewer training people or images of a dataset, with no picture copied or rendered again."""

from dataclasses import replace
from typing import TYPE_CHECKING

from eggan.aus import EXPRESSIONS
from eggan.config import content_hash
from eggan.data.dataset import TRAIN, Dataset
from eggan.errors import UserError
from eggan.randomness import numpy_generator

if TYPE_CHECKING:  # half a second to import
    import pandas as pd

LEFT_OUT = "left-out"  # the split of training images that are not used


def first_people(dataset: Dataset, count: int) -> Dataset:
    """Return a dataset with `count` of the training people of `dataset` and everybody else as before.

    The order of people is keyed by the dataset's seed, so that a smaller number is a part of a larger one.
    More people than there are is a `UserError`.
    """
    people = sorted(set(dataset.manifest["identity"].iloc[dataset.rows(TRAIN)]))
    if not 0 < count <= len(people):
        raise UserError(f"{dataset.folder} has {len(people)} training people: {count} cannot be chosen")
    order = numpy_generator("people", dataset.info["seed"]).permutation(len(people))
    chosen = {people[place] for place in order[:count]}
    return _part(dataset, dataset.manifest["identity"].isin(chosen), f"{count}-people", sorted(chosen))


def labelled_images(dataset: Dataset) -> Dataset:
    """Return a dataset whose training images are those of `dataset` that have an expression's name.

    None at all is a `UserError`.
    """
    labelled = dataset.manifest["expression"].isin(EXPRESSIONS)
    if not labelled.iloc[dataset.rows(TRAIN)].any():
        raise UserError(f"{dataset.folder} has no training image with an expression's name")
    return _part(dataset, labelled, "labelled", "labelled")


def _part(dataset: Dataset, kept: "pd.Series", name: str, key: object) -> Dataset:
    """Return a dataset without the training images that are not `kept`; `key` says which those are."""
    split = dataset.manifest["split"]
    split = split.mask((split == TRAIN) & ~kept, LEFT_OUT)
    named = {"name": f"{dataset.name}-{name}", "content_hash": content_hash([dataset.content_hash, key])}
    return replace(dataset, manifest=dataset.manifest.assign(split=split), info=dataset.info | named)
