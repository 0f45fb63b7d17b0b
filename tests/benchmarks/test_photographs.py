"""The suites on photographs: the same commands, the same numbers, and a word on whatever cannot be had."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.running import environment
from benchmarks.running.cells import all_cells, read_status
from benchmarks.running.showcase import showcase
from benchmarks.scoring.evaluate import Editor, evaluate
from benchmarks.scoring.instrument_choice import InstrumentChoice, choose_instruments
from benchmarks.suites import methods, suite
from benchmarks.suites.methods import METHODS
from benchmarks.suites.suite import REFERENCES, Row
from eggan.data.dataset import load_dataset
from eggan.training import TrainingConfig
from reports.style import figure_style
from reports.suite import estimates
from tests.benchmarks.fakes import fake_entry, fake_instruments, make_bench, silent, tiny_suite
from tests.benchmarks.photographs import (
    PROTOCOL,
    UNREAD,
    calls,
    write_lightcnn,
    write_openface,
    write_photographs,
)

SUITE = dataclasses.replace(tiny_suite(), protocol=dataclasses.replace(PROTOCOL, sequences=2))
TRAINING = TrainingConfig(batch_size=4, images=8, autocast="off")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with the suite `tiny` and the method `painter` beside the real ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(suite, "SUITES", {**suite.SUITES, "tiny": SUITE})
    monkeypatch.setattr(methods, "METHODS", {**METHODS, "painter": fake_entry()})
    return tmp_path


@pytest.fixture(scope="module")
def lightcnn(tmp_path_factory):
    """Weights that tell apart the people of `write_photographs`, whatever the dataset's name."""
    folder = tmp_path_factory.mktemp("lightcnn")
    return write_lightcnn(folder / "nine", write_photographs(folder / "faces"))


def cell(method: str) -> Path:
    (found,) = [f for f in all_cells(Path("runs")) if read_status(f).values["spec"]["method"] == method]
    return found


def scores_of(method: str) -> tuple[dict, dict]:
    return tuple(
        json.loads((cell(method) / "scores" / f"{name}.json").read_text())
        for name in ("summary", "not_measured")
    )


@pytest.mark.slow
def test_a_suite_on_rafd_with_openface_and_lightcnn_from_the_command_to_the_report(
    here, eggan, lightcnn, monkeypatch
):
    monkeypatch.setattr(figure_style, "DPI", 30)
    monkeypatch.setattr(estimates, "RESAMPLES", 50)
    monkeypatch.setattr(estimates, "DIFFERENCE_RESAMPLES", 50)
    write_photographs(here / "data" / "rafd-64px")
    openface = write_openface(here / "bin")
    command = ["bench", "run", "tiny", "--dataset", "rafd", "--openface", openface, "--openface-version"]
    command += ["2.2.0", "--verifier", f"lightcnn:{lightcnn}"]
    status, out, err = eggan(*command)
    assert status == 0, out + err
    for name in ("painter", "copy-source", "target-passthrough", "mean-au"):
        assert f"{name}/rafd/s0" in out
    assert "oracle/rafd" not in out
    assert "not measured: split wide, which this dataset does not have" in out
    assert "note: rafd has no ground truth: right pixels are not measured and the reference oracle" in out
    assert "not measured: pixels/background, pixels/lpips, pixels/msssim_w3, pixels/psnr: no ground" in out
    read = len(calls(openface))
    assert read == len(set(calls(openface))) > 0

    summary, not_measured = scores_of("target-passthrough")
    missed = int((np.array(_targets("target-passthrough"))[:, UNREAD[0]] > UNREAD[1]).sum())
    assert summary["test/n_failed_readings"] == missed > 0
    assert f"target-passthrough/rafd/s0: the AU instrument could not read {missed} of 12 pairs" in out
    assert summary["test/au/mse"] < 0.002
    assert not any(name.startswith("test/pixels") for name in summary)
    assert not_measured["test/pixels/psnr"].startswith("no ground truth")
    assert scores_of("copy-source")[0]["test/identity/accuracy"] == 100

    recorded = json.loads((cell("painter") / "scores" / "laboratory.json").read_text())
    assert recorded["instruments"]["a"]["title"].startswith("OpenFace 2.2.0 (")
    assert recorded["instruments"]["verifier"]["title"].startswith("LightCNN-9 (")
    assert set(recorded["instruments"]["verifier"]["threshold"]) >= {"cosine", "false_accept_rate", "auc"}
    assert (
        read_status(cell("painter")).values["spec"]["instruments"]["a"]
        == recorded["instruments"]["a"]["sha256"]
    )

    status, out, _ = eggan(*command, "--dry-run")
    assert (status, out.count("reused"), len(calls(openface))) == (0, 4, read)
    assert "note: rafd has no ground truth" in out

    status, out, err = eggan("report", "build", "--suite", "tiny")
    assert status == 0, out + err
    assert "Target passthrough: OpenFace 2.2.0 (" in out
    assert f"could not read {missed} of 12 edits" in out
    assert "No wide test split of rafd was scored" in out
    report = Path("runs/report")
    html = (report / "index.html").read_text()
    assert "AU instrument: OpenFace 2.2.0 (" in html
    assert "Face verifier: LightCNN-9 (weights " in html
    assert "estimator A reads" not in html
    assert "was scored by another version" not in html
    table = (report / "tables" / "summary-rafd-test.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.count("|") > 3}
    assert "not measured: no ground truth" in lines["PSNR (dB) ↑"]
    assert "not measured: no ground truth" in lines["MS-SSIM (window 3) ↑"]
    assert next(line for name, line in lines.items() if name.startswith("MSE, OpenFace 2.2.0 ("))
    assert f"{100 * missed / 12:.1f}" in lines["Edits not read (%) ↓"]
    assert "LightCNN-9 (weights " in (report / "tables" / "table2-rafd-test.md").read_text()


def _targets(method: str) -> list[list[float]]:
    pairs = pd.read_parquet(cell(method) / "scores" / "pairs-test.parquet")
    return pairs[[name for name in pairs if name.startswith("target_au")]].to_numpy().tolist()


def test_the_oracle_cannot_be_asked_for_without_true_edits(here, eggan):
    write_photographs(here / "data" / "rafd-64px")
    status, _, err = eggan(
        "bench", "run", "tiny", "--dataset", "rafd", "--only", "oracle", "--au-instrument", "synfacs",
        "--verifier", "synfacs", "--offline",
    )  # fmt: skip
    assert status == 2
    assert "oracle needs the true edits, and rafd has no ground truth" in err


def test_a_dataset_that_was_not_built_says_how(here, eggan):
    for name, words in (
        ("rafd", "rafd --size 64 --root DIR"),
        ("mine", "folder --name mine --size 64 --root DIR --labels CSV"),
    ):
        status, _, err = eggan("bench", "run", "tiny", "--dataset", name)
        assert status == 2
        assert f"`eggan data build {words}` builds it" in err


@pytest.mark.slow
def test_the_same_images_have_the_same_numbers_on_synfacs_and_as_photographs(tmp_path, lightcnn):
    """Rendered or photographed, instruments and protocol see pixels and labels alone."""
    openface, results = write_openface(tmp_path / "bin"), {}
    for name in ("synfacs-fake", "rafd"):
        faces = write_photographs(tmp_path / name, name)
        choice = InstrumentChoice(au="openface", verifier=f"lightcnn:{lightcnn}", openface=openface)
        chosen = choose_instruments(choice, faces, "cpu", tmp_path / "cache", fake_instruments, silent)
        bench = dataclasses.replace(make_bench(tmp_path), dataset=faces.folder)
        scoring = environment.open_scoring(
            SUITE.protocol, bench, environment.suite_datasets(SUITE, bench), chosen
        )
        passthrough = METHODS["target-passthrough"]
        results[name] = evaluate(Editor(passthrough.edit, passthrough.reads), scoring)
    rendered, photographed = results["synfacs-fake"], results["rafd"]
    shared = {
        name: value
        for name, value in rendered.summary.items()
        if not name.startswith(("test/pixels/", "test/au_b/"))
    }
    assert photographed.summary == pytest.approx(shared, rel=0, abs=0, nan_ok=True)
    assert len(shared) > 12
    assert set(rendered.summary) - set(shared) >= {"test/pixels/psnr", "test/au_b/mse"}
    unlike = ["psnr", "msssim", "lpips", "background"]
    unlike += [name for name in rendered.pairs["test"] if name.startswith("b_")]
    pd.testing.assert_frame_equal(
        rendered.pairs["test"].drop(columns=unlike), photographed.pairs["test"].drop(columns=unlike)
    )
    assert set(photographed.not_measured) - set(rendered.not_measured) >= {
        "test/pixels/psnr",
        "test/au_b/mse",
    }


class TestWithoutExpressions:
    """A folder of photographs with AU labels alone."""

    def test_sources_are_the_calmest_faces_and_the_readers_are_told(self, tmp_path):
        faces = write_photographs(tmp_path / "d", "mine", expression="unlabelled")
        bench = dataclasses.replace(make_bench(tmp_path), dataset=faces.folder)
        scoring = environment.open_scoring(
            SUITE.protocol, bench, environment.suite_datasets(SUITE, bench), fake_instruments()
        )
        sources = faces.aus(np.unique(scoring.splits[0].pairs["source_row"]))
        assert (sources == 0).all()
        assert len(sources) == 2
        assert any("split test is labelled neutral" in note for note in scoring.described["notes"])

    def test_figures_show_images_by_the_sum_of_their_aus(self, tmp_path):
        faces = write_photographs(tmp_path / "d", "mine", expression="unlabelled")
        bench = dataclasses.replace(make_bench(tmp_path), dataset=faces.folder)
        scoring = environment.open_scoring(
            SUITE.protocol, bench, environment.suite_datasets(SUITE, bench), fake_instruments()
        )
        shown = showcase(Editor(lambda request, truth: request.reference, ("reference",)), scoring)
        assert shown["names"].tolist() == [f"target {k}" for k in range(1, 9)]
        assert shown["edits"].shape == (1, 8, 64, 64, 3)
        assert (np.diff(shown["target_aus"][0].sum(axis=1)) >= 0).all()

    @pytest.mark.slow
    def test_a_method_that_learns_from_labels_fails_alone_with_its_reason(self, here, eggan, monkeypatch):
        beyond_warm_start = dataclasses.replace(TRAINING, images=9600)  # of which none is trained on
        rows = (Row("stargan", "cpu", beyond_warm_start), Row("painter", "good", TRAINING), *REFERENCES[:1])
        monkeypatch.setitem(suite.SUITES, "tiny", dataclasses.replace(SUITE, rows=rows))
        write_photographs(here / "data" / "mine-64px", "mine", expression="unlabelled")
        status, out, _ = eggan(
            "bench", "run", "tiny", "--dataset", "mine", "--au-instrument", "synfacs", "--verifier",
            "synfacs", "--offline",
        )  # fmt: skip
        assert status == 1
        states = {read_status(f).values["spec"]["method"]: read_status(f) for f in all_cells(Path("runs"))}
        assert {name: status.state for name, status in states.items()} == {
            "stargan": "failed", "painter": "finished", "copy-source": "finished",
        }  # fmt: skip
        assert "learns from labels" in states["stargan"].reason
        assert "note: mine has photographs, but au_a and verifier learnt from renderings" in out


def test_expressions_that_a_dataset_lacks_are_left_out_of_the_figures(tmp_path):
    """MMI has no contempt."""
    faces = write_photographs(tmp_path / "d", "mmi")
    kept = faces.manifest["expression"] != "contemptuous"
    faces = dataclasses.replace(faces, manifest=faces.manifest.assign(
        split=np.where(kept, faces.manifest["split"], "dense")
    ))  # fmt: skip
    data = environment.split_data(PROTOCOL, "test", faces, faces)
    scoring = environment.ScoringContext(
        PROTOCOL, [data], fake_instruments(), make_truth(tmp_path), "cpu", silent
    )
    shown = showcase(Editor(lambda request, truth: request.source, ("source",)), scoring)
    assert shown["edits"].shape[1] == len(shown["names"]) == 7
    assert "contemptuous" not in shown["names"]


def make_truth(folder):
    return environment.TruthCache(folder / "truth", 1)


def test_a_loaded_dataset_keeps_its_name(tmp_path):
    assert load_dataset(write_photographs(tmp_path / "rafd-64px").folder).name == "rafd"
