"""Fewer training people: nested, drawn once, and nothing else of the dataset changes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from eggan.data.fewer_people import first_people, labelled_images
from eggan.data.training_set import load_training_set
from eggan.errors import UserError
from tests.benchmarks.fakes import make_dataset

PEOPLE = 9


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "crowd"
    return make_dataset(folder, {"train": PEOPLE, "val": 2, "test": 1}, name="synfacs-crowd")


def people_in(dataset, split: str) -> set[str]:
    return set(dataset.manifest["identity"].iloc[dataset.rows(split)])


def test_smaller_sets_are_parts_of_larger_ones(crowd):
    sets = [people_in(first_people(crowd, count), "train") for count in range(1, PEOPLE + 1)]
    assert [len(chosen) for chosen in sets] == list(range(1, PEOPLE + 1))
    assert all(smaller < larger for smaller, larger in pairwise(sets))
    assert sets[-1] == people_in(crowd, "train")
    assert sets[3] != set(sorted(sets[-1])[:4])  # drawn, not the first by name


def test_other_splits_and_pictures_stay(crowd):
    fewer = first_people(crowd, 3)
    for split in ("val", "test"):
        assert np.array_equal(fewer.rows(split), crowd.rows(split))
    assert fewer.images is crowd.images
    kept = fewer.rows("train")
    assert set(kept) < set(crowd.rows("train"))
    data = load_training_set(fewer, ("train",), "cpu")
    assert (len(data), data.identities) == (len(kept), 3)
    assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), crowd.images[kept[0]])


def test_each_number_of_people_has_a_name_and_a_hash_of_its_own(crowd):
    hashes = {first_people(crowd, count).content_hash for count in range(1, PEOPLE + 1)}
    assert len(hashes | {crowd.content_hash}) == PEOPLE + 1
    assert first_people(crowd, 3).content_hash == first_people(crowd, 3).content_hash
    assert first_people(crowd, 3).name == "synfacs-crowd-3-people"
    assert first_people(crowd, 3).is_synfacs


def test_images_without_an_expression_are_left_out_of_training_alone(crowd):
    manifest = crowd.manifest.copy()
    mixed = np.arange(len(manifest)) % 3 == 0
    manifest.loc[mixed, "expression"] = "mixed"
    some = replace(crowd, manifest=manifest)
    labelled = labelled_images(some)
    assert set(labelled.rows("train")) == set(some.rows("train")) - set(np.flatnonzero(mixed))
    assert np.array_equal(labelled.rows("val"), some.rows("val"))
    assert (labelled.expressions(labelled.rows("train")) >= 0).all()
    assert labelled.content_hash not in (some.content_hash, first_people(labelled, 3).content_hash)
    assert first_people(labelled, 3).name == "synfacs-crowd-labelled-3-people"
    with pytest.raises(UserError, match="no training image with an expression's name"):
        labelled_images(replace(crowd, manifest=manifest.assign(expression="mixed")))


@pytest.mark.parametrize("count", [0, PEOPLE + 1])
def test_people_that_are_not_there_are_one_line(crowd, count):
    with pytest.raises(UserError, match=f"has {PEOPLE} training people: {count} cannot be chosen"):
        first_people(crowd, count)
