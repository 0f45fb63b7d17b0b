"""The plan of each split: counts, identities, ranges and the order of draws."""

import numpy as np
import pandas as pd
import pytest

from eggan.aus import AU_COLUMNS, AU_NUMBERS, EXPRESSIONS, GAZES, au_index
from eggan.data.dataset import GROUP_COLUMN, check_manifest
from eggan.data.synfacs import make_manifest, make_request, person
from eggan.errors import UserError
from eggan.evaluation.instrument_data import DataRecipe


@pytest.fixture(scope="module")
def twin() -> pd.DataFrame:
    return make_manifest(make_request("twin"))


def test_the_twin_has_the_size_of_rafd(twin: pd.DataFrame) -> None:
    assert len(twin) == 1608
    assert twin["identity"].nunique() == 67
    assert set(twin["expression"]) == set(EXPRESSIONS)
    assert set(twin["gaze"]) == set(GAZES)
    people = twin.groupby("split")["identity"].nunique().to_dict()
    assert people == {"train": 52, "val": 6, "test": 9}
    check_manifest(twin, 1608, "twin")


def test_expressions_carry_their_aus(twin: pd.DataFrame) -> None:
    means = twin.groupby("expression")[list(AU_COLUMNS)].mean()
    assert (means.loc["neutral"] == 0).all()
    for expression, column in (("happy", "au12"), ("angry", "au04"), ("sad", "au15"), ("surprised", "au26")):
        assert means.loc[expression, column] > 2
    assert means.loc["contemptuous", "au14"] == means["au14"].max()


def test_every_au_varies_in_the_twin(twin: pd.DataFrame) -> None:
    assert (twin[list(AU_COLUMNS)].std() > 0.05).all()


def test_people_show_one_expression_differently(twin: pd.DataFrame) -> None:
    happy = twin[(twin["expression"] == "happy") & (twin["gaze"] == "frontal")]
    assert happy["au12"].std() > 0.3


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(twin: pd.DataFrame) -> None:
    small = {"split": "twin", "identities": 4}
    first, again = make_manifest(make_request(**small)), make_manifest(make_request(**small))
    assert first.equals(again)
    assert not first[list(AU_COLUMNS)].equals(make_manifest(make_request(**small, seed=1))[list(AU_COLUMNS)])
    # fewer people are the first ones of many
    assert first[list(AU_COLUMNS)].equals(twin.iloc[: len(first)][list(AU_COLUMNS)])


def test_wide_and_twin_share_no_person() -> None:
    names = [{person(0, population, index) for index in range(5)} for population in ("twin", "wide", "dense")]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert len(make_manifest(make_request("wide"))) == 64 * 24


def test_a_number_of_images_that_would_change_nothing_is_refused() -> None:
    assert make_request("wide", images_per_identity=24) == make_request("wide")
    for split in ("wide", "twin"):
        with pytest.raises(UserError, match=f"everybody of {split} is shown in 24 images"):
            make_request(split, images_per_identity=7)


def test_dense_spreads_every_au_over_its_range() -> None:
    manifest = make_manifest(make_request("dense", identities=30, images_per_identity=40))
    aus = manifest[list(AU_COLUMNS)].to_numpy()
    share = (aus > 0).mean(axis=0)
    assert ((share > 0.15) & (share < 0.5)).all()
    assert (aus.max(axis=0) > 4.5).all()
    assert (aus.min(axis=0) == 0).all()
    assert set(manifest["split"]) == {"dense"}


def test_closed_eyes_and_raised_lids_exclude_each_other_in_dense() -> None:
    manifest = make_manifest(make_request("dense", identities=10))
    aus = manifest[list(AU_COLUMNS)].to_numpy()
    assert not ((aus[:, au_index(45)] > 0) & (aus[:, au_index(5)] > 0)).any()


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_small_twins_have_valid_splits(count: int) -> None:
    manifest = make_manifest(make_request("twin", identities=count))
    check_manifest(manifest, count * 24, "small")
    assert "train" in set(manifest["split"])
    if count > 2:
        assert set(manifest["split"]) == {"train", "val", "test"}


def test_ages_sexes_and_skins_are_spread() -> None:
    people = [person(0, "twin", index) for index in range(67)]
    assert 25 < sum(p.female for p in people) < 42
    assert min(p.age for p in people) >= 18
    assert max(p.age for p in people) > 55
    assert np.std([p.paint.melanin for p in people]) > 0.2
    assert len({p.hair.style for p in people}) > 10
    assert len(AU_NUMBERS) == len(people[0].strength)


@pytest.fixture(scope="module")
def crowd() -> pd.DataFrame:
    return make_manifest(make_request("crowd", identities=78))


def test_a_crowd_comes_in_groups_that_differ_in_their_aus_alone(crowd: pd.DataFrame) -> None:
    assert len(crowd) == 78 * 24
    check_manifest(crowd, 78 * 24, "crowd")
    groups = crowd.groupby(GROUP_COLUMN)
    assert set(groups.size()) == {8}
    for column in ("identity", "gaze", "key", "split"):
        assert (groups[column].nunique() == 1).all()
    assert not crowd.groupby(["identity", "key"])[GROUP_COLUMN].nunique().gt(1).any()
    assert crowd.groupby("split")["identity"].nunique().to_dict() == {"train": 75, "val": 3}


def test_a_small_crowd_is_a_crowd_of_fewer_and_other_people() -> None:
    small = make_manifest(make_request("small-crowd", identities=26))
    assert make_request("small-crowd").images_per_identity == make_request("crowd").images_per_identity
    assert set(small.groupby(GROUP_COLUMN).size()) == {8}
    assert small.groupby("split")["identity"].nunique().to_dict() == {"train": 25, "val": 1}
    assert set(small["population"]) == {"small-crowd"}


def test_a_crowd_shows_neutral_sparse_dense_and_posed_faces(crowd: pd.DataFrame) -> None:
    aus = crowd[list(AU_COLUMNS)].to_numpy()
    active, mixed = (aus > 0).sum(axis=1), (crowd["expression"] == "mixed").to_numpy()
    assert 0.17 < (active == 0).mean() < 0.23
    assert (active[crowd["expression"] == "neutral"] == 0).all()
    assert 0.28 < (mixed & (active >= 1) & (active <= 4)).mean() < 0.5
    assert (mixed & (active > 4)).mean() > 0.1
    assert set(crowd["expression"]) == {*EXPRESSIONS, "mixed"}
    assert crowd[crowd["expression"] == "happy"]["au12"].std() > 0.3  # everybody's own way
    assert ((aus > 0).mean(axis=0) > 0.1).all()
    assert (aus.max(axis=0) > 4.5).all()
    # a person may have a raised lid of their own beside a blink, as in the twin
    assert not ((aus[mixed][:, au_index(45)] > 0) & (aus[mixed][:, au_index(5)] > 0)).any()


def test_nobody_of_the_crowd_is_in_an_evaluation_split_or_an_instrument() -> None:
    recipe = DataRecipe()
    plans = (
        *recipe.training(),
        recipe.validation(),
        *recipe.held_out("instruments-test"),
        recipe.threshold(),
    )
    counts = {plan.population: plan.identities for plan in plans}
    for split in ("twin", "wide", "dense"):
        request = make_request(split)
        counts[request.population] = request.identities
    assert not {"crowd", "small-crowd"} & set(counts)

    def faces(population: str, count: int) -> set[tuple]:
        """The first hundred: populations that share a key share people of the same number."""
        people = [person(0, population, index) for index in range(min(count, 100))]
        found = {(someone.phenotypes, someone.local_changes) for someone in people}
        assert len(found) == len(people)
        return found

    large, small = make_request("crowd"), make_request("small-crowd")
    assert (large.population, large.identities) == ("crowd", 1560)
    assert (small.population, small.identities) == ("small-crowd", 208)
    crowd, few = (faces(request.population, request.identities) for request in (large, small))
    assert not crowd & few
    crowd |= few
    for population, count in counts.items():
        assert not crowd & faces(population, count)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"split": "crowd", "images_per_identity": 12}, "multiple of 8"),
        ({"split": "small-crowd", "images_per_identity": 9}, "multiple of 8"),
        ({"split": "tiwn"}, "tiwn"),
        ({"split": "twin", "size": 96}, "96"),
        ({"split": "twin", "identities": 0}, "identities"),
        ({"split": "dense", "images_per_identity": 0}, "images-per-identity"),
        ({"split": "dense", "population": "a/b"}, "population"),
    ],
)
def test_bad_requests_are_one_line_user_errors(arguments: dict, word: str) -> None:
    with pytest.raises(UserError, match=word) as caught:
        make_request(**arguments)
    assert "\n" not in str(caught.value)
