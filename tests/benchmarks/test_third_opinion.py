"""The landmark reader as a third opinion on every suite, and as the AU instrument where it is asked for."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.running import environment
from benchmarks.scoring.evaluate import Editor, evaluate, evaluate_answer, score_pairs
from benchmarks.scoring.instrument_choice import InstrumentChoice, choose_instruments
from benchmarks.scoring.pair_columns import au_matrix, has_reading, read_mask
from eggan.aus import AU_COLUMNS, AU_COUNT, au_index
from eggan.errors import UserError
from eggan.evaluation import metrics
from studies.reruns.rerun import pair_scores
from tests.benchmarks.fakes import (
    BandReader,
    FakeConfig,
    PaintingMethod,
    fake_instruments,
    make_bench,
    silent,
    tiny_suite,
)
from tests.benchmarks.photographs import write_photographs

UNREADABLE = au_index(6)


@dataclasses.dataclass(frozen=True)
class GeometryReader(BandReader):
    """Reads all bands but one; no face where the picture is white."""

    name: str = "au_landmarks"

    @property
    def card(self):
        return {"title": "geometry", "unreadable": [AU_COLUMNS[UNREADABLE]]}

    def predict(self, images):
        reading = super().predict(images)
        reading[:, UNREADABLE] = torch.nan
        reading[images.flatten(1).min(dim=1).values > 0.99] = torch.nan
        return reading


def with_landmarks(device="cpu"):
    return dataclasses.replace(fake_instruments(), landmarks=GeometryReader("l" * 64))


def painter():
    method = PaintingMethod(FakeConfig())
    method.gain += 1
    return Editor(lambda request, truth: method.edit(request), ("source", "source_aus", "target_aus"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("third"))


def opened(bench, **changes):
    own = dataclasses.replace(bench, **changes)
    suite = tiny_suite()
    return environment.open_scoring(
        suite.protocol, own, environment.suite_datasets(suite, own), environment.open_instruments(own)
    )


@pytest.fixture(scope="module")
def scored(bench):
    """The scores without a third opinion, and with one."""
    return tuple(
        evaluate(painter(), opened(bench, instruments=one)) for one in (fake_instruments, with_landmarks)
    )


@pytest.fixture(scope="module")
def by_landmarks(bench):
    scoring = opened(bench, instruments=with_landmarks, choice=InstrumentChoice(au="landmarks"))
    return scoring, evaluate(painter(), scoring)


def test_it_decides_no_key_and_its_card_is_kept():
    assert with_landmarks().hashes == fake_instruments().hashes
    assert set(with_landmarks().cards) == {"a", "b", "landmarks", "verifier"}
    assert with_landmarks().cards["landmarks"]["sha256"] == "l" * 64


def test_it_adds_its_columns_and_changes_nothing_else(scored):
    before, after = scored
    added = [f"landmarks_{column}" for column in AU_COLUMNS]
    assert list(after.pairs["test"].columns.difference(before.pairs["test"].columns)) == sorted(added)
    pd.testing.assert_frame_equal(after.pairs["test"].drop(columns=added), before.pairs["test"])
    own = {name for name in after.summary if name.startswith("test/au_landmarks/")}
    assert {name: value for name, value in after.summary.items() if name not in own} == before.summary
    assert own == {f"test/au_landmarks/{name}" for name in ("mse", "pcc", "pcc_defined", "mae", "icc")}


def test_its_means_are_over_the_aus_that_it_reads(scored):
    pairs = scored[1].pairs["test"]
    reading, target = au_matrix(pairs, "landmarks"), au_matrix(pairs, "target")
    assert np.isnan(reading[:, UNREADABLE]).all()
    kept = np.arange(AU_COUNT) != UNREADABLE
    by_hand = np.square(reading - target)[:, kept].mean()
    assert scored[1].summary["test/au_landmarks/mse"] == pytest.approx(by_hand)
    assert scored[1].summary["test/au_landmarks/pcc_defined"] == AU_COUNT - 1


def test_a_constant_answer_is_one_to_it_too_and_studies_do_without_it(bench):
    scoring = opened(bench, instruments=with_landmarks)
    answer = evaluate_answer(np.full(AU_COUNT, 1.0), scoring).pairs["test"]
    assert (au_matrix(answer, "landmarks") == 1).all()
    assert not has_reading(score_pairs(painter(), scoring, scoring.splits[0]).frame, "landmarks")


def test_as_the_instrument_it_scores_what_it_reads(by_landmarks, scored):
    result = by_landmarks[1]
    pairs = result.pairs["test"]
    assert read_mask(pairs).all()
    assert result.summary["test/n_failed_readings"] == 0
    assert result.summary["test/au/pcc_defined"] == AU_COUNT - 1
    assert result.summary["test/au/mse"] == pytest.approx(scored[1].summary["test/au_landmarks/mse"])
    assert 0 < result.summary["test/au/skill"] <= 1
    assert result.summary["test/control/slope"] == pytest.approx(1, abs=0.05)
    assert "test/control/n_failed_requests" not in result.summary
    assert result.summary["test/drift/off_target"] < 0.05
    changes = result.response[0].pivot(index="probed_au", columns="read_au", values="change")
    assert changes[6].isna().all()
    assert np.diag(changes.drop(columns=6).drop(index=6)) == pytest.approx(4, abs=0.1)


def test_as_the_instrument_it_says_what_it_leaves_out(by_landmarks):
    scoring, _ = by_landmarks
    assert any("does not read AU6: every mean" in note for note in scoring.described["notes"])
    assert scoring.instruments.hashes["a"] == "l" * 64
    assert scoring.instruments.landmarks is None
    assert scoring.instruments.b == fake_instruments().a  # a suite's own faces are rendered


def test_a_face_that_it_does_not_find_is_counted(bench):
    scoring = opened(bench, instruments=with_landmarks, choice=InstrumentChoice(au="landmarks"))
    method = painter()

    def edit(request, truth):
        images = method.edit(request, truth)
        images[request.target_aus[:, 0] > 2] = 1.0
        return images

    result = evaluate(Editor(edit, method.reads), scoring)
    pairs = result.pairs["test"]
    lost = int((pairs["target_au01"] > 2).sum())
    assert 0 < lost < len(pairs)
    assert result.summary["test/n_failed_readings"] == lost
    reruns = pair_scores(pairs)
    assert reruns["error"].isna().sum() == lost
    assert reruns["error"].mean() == pytest.approx(result.summary["test/au/mse"])


def test_on_photographs_nothing_stands_beside_it(tmp_path):
    photographs = write_photographs(tmp_path / "rafd")
    choice = InstrumentChoice(au="landmarks", verifier="synfacs")
    chosen = choose_instruments(choice, photographs, "cpu", tmp_path, with_landmarks, silent)
    assert (chosen.a, chosen.b, chosen.landmarks) == (with_landmarks().landmarks, None, None)
    assert set(chosen.hashes) == {"a", "verifier"}


def test_on_synfacs_the_shipped_estimator_stands_beside_it(tmp_path):
    chosen = choose_instruments(
        InstrumentChoice(au="landmarks"), None, "cpu", tmp_path, with_landmarks, silent
    )
    assert (chosen.a, chosen.b, chosen.landmarks) == (with_landmarks().landmarks, fake_instruments().a, None)


def test_without_it_and_beside_openface_it_cannot_be_chosen(tmp_path):
    with pytest.raises(UserError, match="eggan instruments train --which landmarks"):
        choose_instruments(InstrumentChoice(au="landmarks"), None, "cpu", tmp_path, fake_instruments, silent)
    with pytest.raises(UserError, match="--au-instrument landmarks contradict each other"):
        InstrumentChoice(au="landmarks", openface=tmp_path)


def test_progress_goes_by_the_aus_that_are_read():
    source, target = np.zeros((2, 3)), np.array([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]])
    readings = np.stack([source, (source + target) / 2, target], axis=1)
    readings[..., 1] = np.nan
    assert metrics.progress(readings, source, target) == pytest.approx(np.tile([0, 0.5, 1], (2, 1)))
    readings[1, 2] = np.nan
    assert np.isnan(metrics.progress(readings, source, target)).tolist() == [
        [False] * 3,
        [False, False, True],
    ]
