"""Fewer training people of a dataset: nested sets, drawn once, with no picture copied or rendered again."""

from dataclasses import replace

from eggan.config import content_hash
from eggan.data.dataset import TRAIN, Dataset
from eggan.errors import UserError
from eggan.randomness import numpy_generator

LEFT_OUT = "left-out"  # the split of training people that are not among the first


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
    left_out = (dataset.manifest["split"] == TRAIN) & ~dataset.manifest["identity"].isin(chosen)
    split = dataset.manifest["split"].mask(left_out, LEFT_OUT)
    info = dataset.info | {
        "name": f"{dataset.name}-{count}-people",
        "content_hash": content_hash([dataset.content_hash, sorted(chosen)]),
    }
    return replace(dataset, manifest=dataset.manifest.assign(split=split), info=info)
