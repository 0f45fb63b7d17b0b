from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.running import environment
from benchmarks.scoring import scores
from benchmarks.scoring.evaluate import (
    ALL_NEUTRAL,
    FEW_IMAGES,
    NO_SECOND_IMAGE,
    NO_SINGLE_AU,
    Editor,
    evaluate,
    evaluate_answer,
)
from eggan.aus import AU_COLUMNS, AU_COUNT
from eggan.data.dataset import write_dataset
from eggan.errors import UserError
from eggan.evaluation import inception
from tests.benchmarks.fakes import make_bench, make_dataset, render, tiny_suite


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("scores"))


@pytest.fixture
def scoring(bench):
    suite = tiny_suite()
    return environment.open_suite(suite, bench).scoring


def reference(bench, name):
    entry = bench.methods[name]
    return Editor(entry.edit, entry.reads)


def test_oracle_reaches_the_ceiling_of_every_table(bench, scoring):
    summary = evaluate(reference(bench, "oracle"), scoring).summary
    assert summary["test/au/mse"] < 1e-3
    assert summary["test/au/skill"] > 0.99
    assert summary["test/identity/accuracy"] == 100
    assert summary["test/pixels/psnr"] == scores.PSNR_CAP
    assert summary["test/pixels/msssim_w3"] == pytest.approx(1)
    assert summary["test/control/slope"] == pytest.approx(1, abs=0.02)
    assert summary["test/drift/off_target"] == pytest.approx(0, abs=1e-3)


def test_copy_source_is_the_zero_of_skill_and_of_response(bench, scoring):
    result = evaluate(reference(bench, "copy-source"), scoring)
    assert result.summary["test/au/skill"] == pytest.approx(0)
    assert result.summary["test/identity/accuracy"] == 100
    assert np.isnan(result.summary["test/au/pcc"])
    assert result.summary["test/au/pcc_defined"] == 0
    assert np.isnan(result.summary["test/control/spearman"])
    assert (result.response[0]["change"] == 0).all()


def test_passthrough_has_the_aus_of_the_target_and_the_wrong_person(bench, scoring):
    result = evaluate(reference(bench, "target-passthrough"), scoring)
    assert result.summary["test/au/mse"] < 1e-3
    assert result.summary["test/identity/accuracy"] == result.summary["test/identity/false_accept_rate"]
    assert result.summary["test/identity/accuracy"] < 50
    assert result.not_measured["test/drift/off_target"] == NO_SINGLE_AU


def test_mean_au_fills_table_1_only_with_the_variance_as_its_error(scoring):
    answer = np.full(AU_COUNT, 2.0)
    result = evaluate_answer(answer, scoring)
    targets = scoring.splits[0].edits.target_aus
    assert result.summary["test/au/mse"] == pytest.approx(np.square(targets - 2.0).mean())
    assert not any(name.startswith("test/identity") for name in result.summary)
    assert "test/identity/accuracy" in result.not_measured


def test_pair_table_has_the_columns_that_reports_read(bench, scoring, tmp_path):
    result = evaluate(reference(bench, "copy-source"), scoring)
    result.write(tmp_path)
    frame = pd.read_parquet(tmp_path / "pairs-test.parquet")
    names = [
        "pair",
        "source_row",
        "source_identity",
        "target_row",
        "target_identity",
        "target_expression",
        "gaze",
    ]
    names += ["similarity", "same", "psnr", "msssim", "lpips", "background"]
    names += [f"{prefix}_{au}" for prefix in ("target", "a", "b", "source_a") for au in AU_COLUMNS]
    assert set(names) <= set(frame.columns)
    assert len(frame) == 24
    for name in ("response", "control"):
        assert len(pd.read_parquet(tmp_path / f"{name}.parquet"))


def test_response_matrix_names_the_probed_au_and_the_read_one():
    readings = np.zeros((2 * (AU_COUNT + 1), AU_COUNT))
    probed = np.tile(np.arange(-1, AU_COUNT), 2)
    readings[probed == 3, 5] = 2.0  # moving AU 5 (position 3) is read as AU 7 (position 5)
    table, drift = scores.response_table(readings, probed, "test")
    moved = table[table["change"] != 0]
    assert moved[["probed_au", "read_au", "change"]].to_numpy().tolist() == [[5, 7, 2.0]]
    assert drift == pytest.approx(2.0 / (AU_COUNT * (AU_COUNT - 1)))


def test_edits_that_only_the_second_estimator_could_read_are_nothing_to_score(bench, scoring):
    data = scoring.splits[0]
    unread = np.full((len(data.pairs), AU_COUNT), np.nan)
    frame = scores.pair_frame(data, {"a": unread, "b": np.ones_like(unread)}, np.ones_like(unread))
    with pytest.raises(UserError, match="found no face in any edit of this split"):
        scores.au_summary(frame)


def test_true_edits_are_rendered_once_for_all_cells(bench):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return render(*arguments, **options)

    suite = tiny_suite()
    counting = replace(bench, render=counted, runs=bench.runs.parent / "counted")
    opened = environment.open_suite(suite, counting)
    opened.render_true_edits()
    assert len(calls) == 3  # of the test pairs, and of the two kinds of pictures that every cell shows
    opened.render_true_edits()
    assert len(calls) == 3


def test_a_dataset_without_truth_says_so(bench, scoring):
    photographs = scoring.splits[0].sources
    photographs.info["name"] = "photographs"
    try:
        result = evaluate(reference(bench, "copy-source"), scoring)
    finally:
        photographs.info["name"] = "synfacs-fake"
    assert "SynFACS" in result.not_measured["test/pixels/psnr"]
    assert "test/pixels/psnr" not in result.summary


def scores_of(folder, **columns):
    """Score copy-source on one test person's three images, all alike but for the gaze."""
    data = make_dataset(folder / "all", {"train": 2, "val": 1, "test": 1}, **columns)
    kept = np.flatnonzero((data.manifest["split"] != "test") | (data.manifest.index % 24 < 3))
    manifest = data.manifest.iloc[kept].reset_index(drop=True)
    write_dataset(folder / "few", "synfacs-fake", manifest, np.asarray(data.images)[kept], 0, {}, "1")
    small = replace(make_bench(folder), dataset=folder / "few")
    return evaluate(reference(small, "copy-source"), environment.open_suite(tiny_suite(), small).scoring)


def test_a_split_of_few_images_has_no_kernel_distance_and_keeps_its_other_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "missing", lambda: None)
    result = scores_of(tmp_path)
    assert result.not_measured["test/realism/kid"] == FEW_IMAGES
    assert result.summary["test/control/slope"] == pytest.approx(0, abs=0.02)


def test_where_every_target_is_neutral_no_way_to_one_is_measured(tmp_path):
    result = scores_of(tmp_path, expression="neutral")
    assert result.not_measured["test/control/slope"] == ALL_NEUTRAL
    assert result.summary["test/au/skill"] == pytest.approx(0)
    result.write(tmp_path / "scores")
    assert not (tmp_path / "scores" / "control.parquet").exists()


class TestPeopleWithASingleImage:
    """They cannot be compared with themselves: "Real" would be 100 % whatever the verifier is worth."""

    def scoring_context(self, folder, alone):
        """A context over faces of three test people, of whom the first `alone` have one image left."""
        data = make_dataset(folder / "all", {"train": 2, "val": 1, "test": 3})
        people = data.manifest["identity"]
        names = [f"test{number:02d}" for number in range(alone)]
        first = data.manifest[people.isin(names) & (data.manifest["expression"] == "neutral")]
        keep = ~people.isin(names) | data.manifest.index.isin(first.groupby("identity").head(1).index)
        kept = np.flatnonzero(keep)
        manifest = data.manifest.iloc[kept].reset_index(drop=True)
        write_dataset(folder / "some", "synfacs-fake", manifest, np.asarray(data.images)[kept], 0, {}, "1")
        bench, suite = replace(make_bench(folder), dataset=folder / "some"), tiny_suite()
        return environment.open_suite(suite, bench).scoring

    def test_they_are_left_out_and_counted(self, tmp_path):
        scoring = self.scoring_context(tmp_path, alone=1)
        (data,) = scoring.splits
        partners = scores.genuine_partners(data)
        single = (data.pairs["source_identity"] == "test00").to_numpy()
        assert single.any()
        assert (partners[single] == -1).all()
        assert (partners[~single] >= 0).all()
        assert (partners != data.pairs["source_row"]).all()
        assert np.isnan(scoring.readings(data).genuine[single]).all()
        note = "1 of 3 people of synfacs-fake's split test have a single image: they are left out of the real"
        assert any(recorded.startswith(note) for recorded in scoring.described["notes"])
        result = evaluate(Editor(lambda request, truth: request.source, ("source",)), scoring)
        others = scoring.readings(data).genuine[~single]
        expected = 100 * (others >= scoring.instruments.verifier.threshold).mean()
        assert result.summary["test/identity/real_accuracy"] == pytest.approx(expected)

    def test_nobody_with_a_second_image_means_no_real_pairs(self, tmp_path):
        scoring = self.scoring_context(tmp_path, alone=3)
        result = evaluate(Editor(lambda request, truth: request.source, ("source",)), scoring)
        assert "test/identity/real_accuracy" not in result.summary
        assert result.not_measured["test/identity/real_accuracy"] == NO_SECOND_IMAGE
        assert result.summary["test/identity/accuracy"] == 100
