import numpy as np
import pandas as pd
import pytest

from benchmarks import runner, scores, workbench
from benchmarks.evaluate import NO_SINGLE_AU, Editor, evaluate, evaluate_answer
from eggan.aus import AU_COLUMNS, AU_COUNT
from tests.benchmarks.fakes import fake_instruments, make_bench, render, tiny_suite


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("scores"))


@pytest.fixture
def lab(bench):
    suite = tiny_suite()
    return workbench.open_laboratory(suite, bench, workbench.suite_datasets(suite, bench), fake_instruments())


def reference(bench, name):
    entry = bench.methods[name]
    return Editor(entry.edit, entry.reads)


def test_oracle_reaches_the_ceiling_of_every_table(bench, lab):
    summary = evaluate(reference(bench, "oracle"), lab).summary
    assert summary["test/au/mse"] < 1e-3
    assert summary["test/au/skill"] > 0.99
    assert summary["test/identity/accuracy"] == 100
    assert summary["test/pixels/psnr"] == scores.PSNR_CAP
    assert summary["test/pixels/msssim_w3"] == pytest.approx(1)
    assert summary["test/control/slope"] == pytest.approx(1, abs=0.02)
    assert summary["test/drift/off_target"] == pytest.approx(0, abs=1e-3)


def test_copy_source_is_the_zero_of_skill_and_of_response(bench, lab):
    result = evaluate(reference(bench, "copy-source"), lab)
    assert result.summary["test/au/skill"] == pytest.approx(0)
    assert result.summary["test/identity/accuracy"] == 100
    assert np.isnan(result.summary["test/au/pcc"])
    assert result.summary["test/au/pcc_defined"] == 0
    assert np.isnan(result.summary["test/control/spearman"])
    assert (result.response[0]["change"] == 0).all()


def test_passthrough_has_the_aus_of_the_target_and_the_wrong_person(bench, lab):
    result = evaluate(reference(bench, "target-passthrough"), lab)
    assert result.summary["test/au/mse"] < 1e-3
    assert result.summary["test/identity/accuracy"] == result.summary["test/identity/false_accept_rate"]
    assert result.summary["test/identity/accuracy"] < 50
    assert result.not_measured["test/drift/off_target"] == NO_SINGLE_AU


def test_mean_au_fills_table_1_only_with_the_variance_as_its_error(lab):
    answer = np.full(AU_COUNT, 2.0)
    result = evaluate_answer(answer, lab)
    targets = lab.splits[0].request.target_aus
    assert result.summary["test/au/mse"] == pytest.approx(np.square(targets - 2.0).mean())
    assert not any(name.startswith("test/identity") for name in result.summary)
    assert "test/identity/accuracy" in result.not_measured


def test_pair_table_has_the_columns_that_reports_read(bench, lab, tmp_path):
    result = evaluate(reference(bench, "copy-source"), lab)
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
    for name in ("per_au", "response", "control"):
        assert len(pd.read_parquet(tmp_path / f"{name}.parquet"))


def test_response_matrix_names_the_probed_au_and_the_read_one():
    readings = np.zeros((2 * (AU_COUNT + 1), AU_COUNT))
    probed = np.tile(np.arange(-1, AU_COUNT), 2)
    readings[probed == 3, 5] = 2.0  # moving AU 5 (position 3) is read as AU 7 (position 5)
    table, drift = scores.response_table(readings, probed, "test")
    moved = table[table["change"] != 0]
    assert moved[["probed_au", "read_au", "change"]].to_numpy().tolist() == [[5, 7, 2.0]]
    assert drift == pytest.approx(2.0 / (AU_COUNT * (AU_COUNT - 1)))


def test_true_edits_are_rendered_once_for_all_cells(bench):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return render(*arguments, **options)

    suite = tiny_suite()
    from dataclasses import replace

    counting = replace(bench, render=counted, runs=bench.runs.parent / "counted")
    lab = workbench.open_laboratory(
        suite, counting, workbench.suite_datasets(suite, counting), fake_instruments()
    )
    for _ in range(2):
        runner.prepare_truth(lab)
    assert len(calls) == 1


def test_a_dataset_without_truth_says_so(bench, lab):
    photographs = lab.splits[0].sources
    photographs.info["name"] = "photographs"
    try:
        result = evaluate(reference(bench, "copy-source"), lab)
    finally:
        photographs.info["name"] = "synfacs-fake"
    assert "SynFACS" in result.not_measured["test/pixels/psnr"]
    assert "test/pixels/psnr" not in result.summary
