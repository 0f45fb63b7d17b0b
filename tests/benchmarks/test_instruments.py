"""Which scorers a benchmark uses, and OpenFace as the reader of Table 1."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from baselines import lightcnn_verifier
from benchmarks.running import environment
from benchmarks.scoring import scores
from benchmarks.scoring.evaluate import NO_SECOND, NOTHING_READ, Editor, evaluate, evaluate_answer
from benchmarks.scoring.instrument_choice import InstrumentChoice, choose_instruments
from benchmarks.scoring.pair_columns import read_mask
from eggan.aus import AU_COLUMNS
from eggan.data.images import to_network_range
from eggan.data.labels.openface_run import OpenFace
from eggan.errors import UserError
from eggan.evaluation.openface_instrument import OpenFaceEstimator
from tests.benchmarks.fakes import fake_instruments, make_bench, silent, tiny_suite
from tests.benchmarks.photographs import PROTOCOL, UNREAD, calls, write_openface, write_photographs


@pytest.fixture(scope="module")
def rafd(tmp_path_factory):
    return write_photographs(tmp_path_factory.mktemp("data") / "rafd")


@pytest.fixture
def openface(tmp_path):
    return write_openface(tmp_path / "bin")


def choose(choice, dataset, tmp_path):
    return choose_instruments(choice, dataset, "cpu", tmp_path / "cache", fake_instruments, silent)


def pictures(dataset, rows):
    return to_network_range(dataset.tensor(rows))


class TestChoice:
    def test_py_feat_is_refused_with_its_reason(self, eggan, tmp_path):
        status, _, error = eggan("bench", "run", "quick", "--au-instrument", "pyfeat", "--runs", tmp_path)
        assert status == 2
        assert len(error.strip().splitlines()) == 1
        assert "probabilities that an AU is present, not intensities" in error

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"au": "magic"}, "known: auto, synfacs, openface"),
            ({"au": "synfacs", "openface_version": "2.2"}, "contradict"),
            ({"verifier": "magic"}, "known: auto, synfacs, lightcnn:FOLDER"),
            ({"verifier": "lightcnn"}, "eggan import lightcnn"),
        ],
    )
    def test_a_mistake_is_one_line(self, options, message):
        with pytest.raises(UserError, match=message):
            InstrumentChoice(**options)

    def test_photographs_without_openface_say_how_to_get_it(self, rafd, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(
            UserError, match="pass --openface with its bin folder, or --au-instrument synfacs"
        ):
            choose(InstrumentChoice(verifier="synfacs"), rafd, tmp_path)

    def test_photographs_without_lightcnn_say_how_to_get_it(self, rafd, tmp_path, openface):
        with pytest.raises(UserError, match="eggan import lightcnn FILE"):
            choose(InstrumentChoice(openface=openface), rafd, tmp_path)

    def test_lightcnn_needs_people_to_fix_its_threshold_on(self, tmp_path):
        with pytest.raises(UserError, match="needs --dataset"):
            choose(InstrumentChoice(verifier="lightcnn:w"), None, tmp_path)

    def test_a_folder_without_the_program_is_told(self, rafd, tmp_path):
        with pytest.raises(UserError, match="FaceLandmarkImg is not in"):
            choose(InstrumentChoice(verifier="synfacs", openface=tmp_path), rafd, tmp_path)

    def test_openface_on_the_path_reads_photographs_alone(self, rafd, tmp_path, openface, monkeypatch):
        monkeypatch.setenv("PATH", f"{openface}:/usr/bin:/bin")
        chosen = choose(InstrumentChoice(verifier="synfacs"), rafd, tmp_path)
        assert chosen.a.card["title"].startswith("OpenFace of unknown version (")
        assert chosen.b is None
        assert set(chosen.hashes) == {"a", "verifier"}

    def test_on_synfacs_openface_has_the_shipped_estimator_beside_it(self, tmp_path, openface):
        chosen = choose(InstrumentChoice(openface=openface, openface_version="2.2.0"), None, tmp_path)
        assert chosen.a.card["title"].startswith("OpenFace 2.2.0 (")
        assert chosen.b == fake_instruments().a

    def test_synfacs_keeps_the_shipped_ones_and_their_hashes(self, tmp_path):
        assert environment.open_instruments(make_bench(tmp_path)).hashes == fake_instruments().hashes


class TestOpenFace:
    @pytest.fixture
    def estimator(self, tmp_path, openface):
        return OpenFaceEstimator(OpenFace(openface), tmp_path / "cache")

    def test_it_reads_the_intensities_and_nothing_from_a_face_that_it_misses(self, rafd, estimator):
        rows = np.arange(12)
        reading = estimator.predict(pictures(rafd, rows)).numpy()
        aus = rafd.aus(rows)
        missed = aus[:, UNREAD[0]] > UNREAD[1]
        assert 0 < missed.sum() < 12
        assert np.isnan(reading[missed]).all()
        np.testing.assert_allclose(reading[~missed], aus[~missed], atol=0.05)  # enlarging blurs the bands

    def test_a_picture_is_read_once_whatever_batch_brings_it(self, rafd, estimator, openface):
        first = estimator.predict(pictures(rafd, np.arange(6)))
        again = estimator.predict(pictures(rafd, np.array([5, 0, 7])))
        assert torch.equal(first[[5, 0]], again[:2])
        assert len(calls(openface)) == len(set(calls(openface))) == 7

    def test_another_program_is_another_instrument(self, estimator, openface):
        before, program = estimator.sha256, openface / "FaceLandmarkImg"
        program.write_text(program.read_text() + "\n# 2.2.1\n")
        assert OpenFaceEstimator(OpenFace(openface), estimator.work).sha256 != before


class TestUnread:
    """Edits that OpenFace cannot read are counted; every number is over those that it read."""

    @pytest.fixture
    def scoring(self, rafd, tmp_path, openface):
        bench = dataclasses.replace(make_bench(tmp_path), dataset=rafd.folder)
        chosen = choose(InstrumentChoice("openface", "synfacs", openface), rafd, tmp_path)
        suite = dataclasses.replace(tiny_suite(), protocol=PROTOCOL)
        return environment.open_scoring(
            suite.protocol, bench, environment.suite_datasets(suite, bench), chosen
        )

    def test_they_are_left_out_and_counted(self, scoring):
        answer = evaluate(Editor(lambda request, truth: request.reference, ("reference",)), scoring)
        target_smiles = scoring.splits[0].edits.target_aus[:, UNREAD[0]]
        missed = int((target_smiles > UNREAD[1]).sum())
        assert 0 < missed < PROTOCOL.pairs
        assert answer.summary["test/n_failed_readings"] == missed
        assert answer.summary["test/n_pairs"] == PROTOCOL.pairs
        assert answer.summary["test/au/mse"] < 0.002  # what was read is right
        assert read_mask(answer.pairs["test"]).sum() == PROTOCOL.pairs - missed
        assert answer.not_measured["test/au_b/mse"] == NO_SECOND
        assert answer.pairs["test"][[f"a_{au}" for au in AU_COLUMNS]].isna().all(axis=1).sum() == missed
        assert len(answer.pairs["test"]["similarity"].dropna()) == PROTOCOL.pairs  # Table 2 has them all

    def test_a_constant_answer_is_compared_on_what_the_sources_give(self, scoring):
        answer = evaluate_answer(np.full(17, 1.0), scoring)
        assert answer.summary["test/n_failed_readings"] == 0
        assert answer.not_measured["test/au_b/pcc"] == NO_SECOND

    def test_probes_and_sequences_with_an_unread_frame_are_counted(self, scoring):
        edited = _painter(scoring)
        assert edited.not_measured["test/drift/off_target"] == NOTHING_READ  # AU12 is probed at 4
        lost = edited.summary["test/control/n_failed_requests"]
        assert lost == edited.control[0]["slope"].isna().sum()
        assert 0 < lost < PROTOCOL.sequences
        assert edited.summary["test/control/slope"] == pytest.approx(1, abs=0.05)

    def test_nothing_read_at_all_is_an_error(self, scoring):
        smile = Editor(lambda request, truth: torch.ones_like(request.source), ("source",))
        with pytest.raises(UserError, match="found no face in any edit"):
            evaluate(smile, scoring)


def test_a_source_with_an_unread_probe_says_nothing_on_the_drift():
    readings = np.zeros((2 * 18, 17))
    probed = np.tile(np.arange(-1, 17), 2)
    readings[probed == 3, 5] = 2.0
    table, drift = scores.response_table(readings, probed, "test")
    readings[20] = np.nan  # of the second source
    assert scores.read_sources(readings).tolist() == [True, False]
    pd.testing.assert_frame_equal(scores.response_table(readings, probed, "test")[0], table)
    assert scores.response_table(readings, probed, "test")[1] == drift


def _painter(scoring):
    from tests.benchmarks.fakes import FakeConfig, PaintingMethod

    method = PaintingMethod(FakeConfig())
    method.gain += 1
    return evaluate(Editor(lambda r, t: method.edit(r), ("source", "source_aus", "target_aus")), scoring)


def test_dataset_parameters_say_whether_the_eyes_are_in_place(rafd, tmp_path):
    assert lightcnn_verifier.is_aligned(rafd)
    older = {**rafd.info, "parameters": {"align": "dlib"}}
    assert lightcnn_verifier.is_aligned(dataclasses.replace(rafd, info=older))
    assert not lightcnn_verifier.is_aligned(dataclasses.replace(rafd, info={**rafd.info, "parameters": {}}))
