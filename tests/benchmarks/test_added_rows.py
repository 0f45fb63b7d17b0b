"""`eggan bench run SUITE --add METHOD[:PRESET]`."""

import argparse
import dataclasses
from types import SimpleNamespace

import pytest

from benchmarks.running.bench_console import status_text
from benchmarks.running.bench_session import BenchSession
from benchmarks.running.cluster_cells import CellsInPlace
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.methods import all_methods
from benchmarks.suites.suite import CROWD, SUITES, find_suite
from eggan import tracking
from eggan.config import setting
from eggan.errors import UserError
from tests.benchmarks.fakes import FakeConfig, fake_entry, make_bench, tiny_suite


@dataclasses.dataclass(frozen=True)
class SizedConfig(FakeConfig):
    image_size: int = setting(64, "ours: test")


def entry(presets: dict[str, int | None], name: str = "mine"):
    made = {
        preset: FakeConfig() if size is None else SizedConfig(image_size=size)
        for preset, size in presets.items()
    }
    return dataclasses.replace(fake_entry(), name=name, title="My method", presets=made)


def added(suite: str, text: str, **presets):
    known = all_methods() | {"mine": entry(presets)}
    return with_added_rows(find_suite(suite), [text], known).rows[-1]


@pytest.mark.parametrize("name", SUITES)
def test_all_rows_of_a_suite_that_train_have_one_budget_which_an_added_one_gets(name):
    suite = find_suite(name)
    trainings = [row.training for row in suite.rows if row.training]
    budgets = {dataclasses.replace(training, decay_from=0.0) for training in trainings}  # a rate is no budget
    assert len(budgets) == 1
    assert added(name, "mine", any=None).training == trainings[0]


@pytest.mark.parametrize(("suite", "labelled"), [("standard", True), ("twin", False)])
def test_a_method_that_learns_from_labels_gets_those_images_of_the_crowd_that_have_one(suite, labelled):
    mine = dataclasses.replace(entry({"any": None}), learns_from_labels=True)
    row = with_added_rows(find_suite(suite), ["mine"], all_methods() | {"mine": mine}).rows[-1]
    assert row.labelled == labelled
    assert not added(suite, "mine", any=None).labelled


@pytest.mark.parametrize(
    ("suite", "text", "presets", "preset"),
    [
        ("standard", "mine", {"paper": 128, "cpu": 64, "quick": 64}, "cpu"),
        ("quick", "mine", {"paper": 128, "cpu": 64, "quick": 64}, "quick"),
        ("paper", "mine", {"paper": 128, "cpu": 64}, "paper"),
        ("quick", "mine", {"large": 128, "small": 64}, "small"),
        ("quick", "mine:small", {"small": 64, "quick": 64}, "small"),
        ("quick", "stargan", {}, "cpu"),
    ],
)
def test_the_preset_is_the_suites_or_the_only_one_that_fits_or_the_one_named(suite, text, presets, preset):
    assert added(suite, text, **presets).preset == preset


@pytest.mark.parametrize(
    ("text", "presets", "message"),
    [
        ("yours", {}, "unknown method 'yours'"),
        ("mean-au", {}, "mean-au is a reference"),
        ("eggan", {}, "eggan is in the suite standard already"),
        ("eggan:quick", {}, "eggan is in the suite standard already"),
        ("eggan-crowd", {}, "eggan is in the suite standard already"),
        ("eggan-shipped:cpu", {}, "have no presets: add eggan-shipped"),
        ("mine:huge", {"cpu": 64}, r"mine has no preset 'huge' .known: cpu"),
        ("mine:paper", {"paper": 128}, "is for 128 px, the suite standard has 64 px"),
        ("mine", {"one": 64, "two": None}, r"say which preset .* --add mine:PRESET .known: one, two"),
        ("mine", {"paper": 128}, "say which preset"),
    ],
)
def test_what_cannot_be_added_is_refused(text, presets, message):
    with pytest.raises(UserError, match=message):
        added("standard", text, **presets)


@pytest.mark.parametrize("method", ["eggan-w", "eggan-pairs"])
def test_a_method_that_learns_from_true_edits_is_added_where_there_are_some(method):
    for suite in ("twin", "quick", "paper"):
        with pytest.raises(
            UserError, match=f"--add {method}.*: {method} learns from true edits, which the twin"
        ):
            added(suite, f"{method}:cpu" if suite == "twin" else f"{method}:{suite}")
    assert added("ablations-crowd", f"{method}:cpu").learns_from == CROWD


def test_what_a_named_dataset_lacks_is_said_before_anything_is_trained(eggan, tmp_path, dataset_folder):
    words = ("--add", "eggan-w:cpu", "--dataset", dataset_folder, "--runs", tmp_path / "runs")
    for dry in (("--dry-run",), ()):
        status, _, err = eggan("bench", "run", "twin", *words, *dry, "--offline")
        assert (status, err.count("\n")) == (2, 1), err
        assert "EGGAN-W learns from true edits, which" in err
        assert not (tmp_path / "runs").exists()


def test_a_method_is_added_once():
    with pytest.raises(UserError, match="already"):
        with_added_rows(find_suite("quick"), ["mine:a", "mine:b"], {"mine": entry({"a": 64, "b": None})})


def test_a_method_that_learns_from_labels_is_added_as_the_suite_standard_has_it():
    (own,) = (row for row in find_suite("standard").rows if row.name == "stargan")
    for suite in ("ablations-crowd", "ablations-w"):
        assert dataclasses.replace(added(suite, "stargan:cpu"), expected_minutes=own.expected_minutes) == own
    assert not added("ablations", "stargan").labelled  # everybody of the twin has an expression's name


def open_session(root, words=(), **options) -> BenchSession:
    bench = make_bench(root)
    bench = dataclasses.replace(bench, methods={**bench.methods, "mine": entry({"good": None})})
    suite = with_added_rows(tiny_suite(), words, bench.methods)
    return BenchSession(suite, bench, options.pop("only", []), [], [], **options)


def keys(root) -> dict[str, str]:
    return {status.name: tracking.read_record(status).name for status in (root / "runs" / "cells").glob("*")}


def test_an_added_row_runs_beside_the_others_whose_keys_stay(tmp_path, capsys):
    assert open_session(tmp_path, offline=True).run() == 0
    before = keys(tmp_path)
    assert open_session(tmp_path, ["mine"], offline=True).dry_run() == 0
    assert capsys.readouterr().out.count("reused") == len(before)
    assert open_session(tmp_path, ["mine"], only=["mine"]).run() == 0
    assert "mine/synfacs-fake/s0" in capsys.readouterr().out
    after = keys(tmp_path)
    assert before.items() <= after.items()
    assert sorted(set(after.values()) - set(before.values())) == ["mine/synfacs-fake/s0"]
    assert "mine/synfacs-fake/s0" in status_text(tmp_path / "runs")
    assert open_session(tmp_path, ["mine"], offline=True).dry_run() == 0
    assert capsys.readouterr().out.count("reused") == len(after)


def test_a_worker_adds_the_same_rows_and_runs_one_cell(tmp_path):
    given = argparse.Namespace(add=["mine:good"], only=["mine"], seed=[0], cell=[], processes=4, workers=None)
    opened = SimpleNamespace(bench=make_bench(tmp_path), suite=tiny_suite())
    plan = SimpleNamespace(spec=SimpleNamespace(key="k"))
    (job,) = CellsInPlace([plan], opened, given, 4).jobs()
    worker = job.arguments
    assert (worker.add, worker.cell, worker.processes) == (["mine:good"], ["k"], 1)
    assert worker.suite == "tiny"
    assert given.cell == []


def test_the_command_takes_added_methods_with_only_and_seed(eggan, tmp_path):
    folders = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    chosen = ("--only", "stargan", "--seed", "0")
    status, out, _ = eggan("bench", "run", "quick", "--add", "stargan", *chosen, "--dry-run", *folders)
    assert status == 0
    assert "stargan/synfacs-64/s0" in out
    status, _, err = eggan("bench", "run", "quick", "--add", "magic", *folders)
    assert (status, "unknown method 'magic'" in err, err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "data").exists()
