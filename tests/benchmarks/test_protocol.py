import numpy as np
import pandas as pd
import pytest

from benchmarks.protocol.edit_requests import (
    control_request,
    pair_manifest,
    pairs_hash,
    path_request,
    probe_request,
    showcase_request,
    split_data,
)
from benchmarks.protocol.protocol_config import Protocol
from benchmarks.suites.suite import SUITES
from eggan.aus import AU_COLUMNS, AU_COUNT, EXPRESSIONS
from eggan.data.dataset import Dataset
from eggan.errors import UserError
from tests.benchmarks.fakes import make_dataset


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Dataset:
    """The shape of RaFD: 58 training (6 of them validation) and 9 test identities, 1,608 images."""
    return make_dataset(tmp_path_factory.mktemp("twin") / "twin", {"train": 52, "val": 6, "test": 9})


@pytest.fixture(scope="module")
def pairs(twin: Dataset) -> pd.DataFrame:
    return pair_manifest(Protocol(), "test", twin, twin)


def spread(counts: pd.Series) -> int:
    return int(counts.max() - counts.min())


def test_all_training_images_are_targets_once(twin, pairs):
    assert len(pairs) == 1392
    assert sorted(pairs["target_row"]) == sorted(twin.rows("train", "val"))


def test_sources_are_neutral_images_of_test_identities(twin, pairs):
    sources = twin.manifest.iloc[pairs["source_row"]]
    assert set(sources["split"]) == {"test"}
    assert set(sources["expression"]) == {"neutral"}
    assert set(pairs["source_identity"]) == set(twin.manifest.query("split == 'test'")["identity"])


def test_every_source_serves_equally_often_in_total_and_per_group(pairs):
    assert pairs["source_row"].nunique() == 27
    assert spread(pairs["source_row"].value_counts()) <= 1
    for _, group in pairs.groupby(["target_expression", "gaze"]):
        assert spread(group["source_row"].value_counts()) <= 1
        assert spread(group["source_identity"].value_counts()) <= 1


def test_no_source_identity_is_locked_to_one_gaze_or_target_person(pairs):
    assert (pairs.groupby("source_identity")["gaze"].nunique() == 3).all()
    assert (pairs.groupby("source_identity")["source_gaze"].nunique() == 3).all()
    assert pairs.groupby("target_identity")["source_identity"].nunique().min() >= 6


def test_another_seed_gives_another_equally_balanced_assignment(twin, pairs):
    other = pair_manifest(Protocol(seed=1), "test", twin, twin)
    assert pairs_hash(other) != pairs_hash(pairs)
    assert spread(other["source_row"].value_counts()) <= 1
    assert pairs_hash(pair_manifest(Protocol(), "test", twin, twin)) == pairs_hash(pairs)


def test_a_subset_keeps_expressions_and_gazes_balanced(twin):
    subset = pair_manifest(Protocol(pairs=464), "test", twin, twin)
    assert len(subset) == 464
    assert subset["target_row"].is_unique
    assert spread(subset.groupby(["target_expression", "gaze"]).size()) <= 1
    assert spread(subset["source_row"].value_counts()) <= 1


def test_targets_carry_their_own_aus(twin, pairs):
    columns = [f"target_{name}" for name in AU_COLUMNS]
    np.testing.assert_array_equal(pairs[columns].to_numpy(), twin.aus(pairs["target_row"].to_numpy()))


def test_wide_sources_come_from_their_own_dataset(twin, tmp_path):
    wide = make_dataset(tmp_path / "wide", {"wide": 7})
    data = split_data(Protocol(pairs=100), "wide", wide, twin)
    assert spread(data.pairs["source_identity"].value_counts()) <= 1
    assert data.edits.sources is wide
    assert data.edits.references is twin


def test_a_split_without_neutral_images_is_refused(twin):
    with pytest.raises(UserError, match="no neutral image in its split 'wide'"):
        pair_manifest(Protocol(), "wide", twin, twin)


def test_probes_move_one_au_at_a_time(twin):
    request, probed = probe_request(Protocol(probe_sources=3), split_data(Protocol(), "test", twin, twin))
    assert len(request) == 3 * (AU_COUNT + 1)
    for position, aus in zip(probed, request.target_aus, strict=True):
        expected = np.zeros(AU_COUNT) if position < 0 else 4.0 * np.eye(AU_COUNT)[position]
        np.testing.assert_array_equal(aus, expected)


def test_path_runs_from_source_to_target_aus_in_a_line(twin):
    ends, alphas = control_request(
        Protocol(sequences=14, alphas=5), split_data(Protocol(), "test", twin, twin)
    )
    frames = path_request(ends, alphas).target_aus.reshape(14, 5, AU_COUNT)
    np.testing.assert_allclose(frames[:, 0], ends.sources.aus(ends.rows), atol=1e-6)
    np.testing.assert_allclose(frames[:, -1], ends.target_aus, atol=1e-6)
    np.testing.assert_allclose(np.diff(frames, n=2, axis=1), 0, atol=1e-5)
    assert spread(pd.Series(ends.expressions).value_counts()) <= 1


def test_showcase_edits_every_face_to_the_same_eight_targets(twin):
    grid, ends = showcase_request(Protocol(showcase=4), split_data(Protocol(), "test", twin, twin))
    aus = grid.target_aus.reshape(4, len(EXPRESSIONS), AU_COUNT)
    assert (aus == aus[:1]).all()
    assert grid.expressions.reshape(4, -1)[0].tolist() == list(range(len(EXPRESSIONS)))
    assert len(set(ends.sources.manifest["identity"].iloc[ends.rows])) == 4


def test_a_suite_mirrors_the_images_of_all_its_methods_or_of_none():
    """What the headers of the baselines say of their flips."""
    flips = {
        suite.name: {row.training.horizontal_flip for row in suite.rows if row.training}
        for suite in SUITES.values()
    }
    assert flips == {
        "quick": {True},
        "standard": {True},
        "twin": {True},
        "ablations": {True},
        "paper": {False},
        "people": {True},
        "ablations-crowd": {True},
        "ablations-w": {True},
        "node": {True},
    }


def test_targets_come_from_the_splits_that_the_protocol_names(twin):
    pairs = pair_manifest(Protocol(target_splits=("train",)), "val", twin, twin)
    split_of = twin.manifest["split"]
    assert set(split_of.iloc[pairs["target_row"]]) == {"train"}
    assert set(split_of.iloc[pairs["source_row"]]) == {"val"}
    assert len(pairs) == len(twin.rows("train"))
    request, _ = showcase_request(
        Protocol(target_splits=("val",)), split_data(Protocol(), "test", twin, twin)
    )
    assert set(split_of.iloc[request.reference_rows]) == {"val"}
