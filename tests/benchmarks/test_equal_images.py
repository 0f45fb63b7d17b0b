"""`eggan bench run SUITE --images N`: all methods of a suite on another number of images."""

import dataclasses
import sys

import pytest

from benchmarks.bundle import run_here
from benchmarks.running.bench_session import BenchSession
from benchmarks.suites.equal_images import check_warm_starts, with_images
from benchmarks.suites.methods import all_methods
from benchmarks.suites.suite import SUITES, Suite, find_suite
from eggan import tracking
from eggan.errors import UserError
from tests.benchmarks.fakes import make_bench, tiny_suite


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_all_methods_get_the_number_and_nothing_else_changes_but_times_in_proportion(suite: Suite):
    other = with_images(suite, 1_600)
    for row, before in zip(other.rows, suite.rows, strict=True):
        if before.training is None:
            assert row == before
            continue
        assert row.training == dataclasses.replace(before.training, images=1_600)
        if before.training.images:
            share = 1_600 / before.training.images
            assert row.expected_minutes == pytest.approx(before.expected_minutes * share)
        same = {"training": before.training, "expected_minutes": before.expected_minutes}
        assert dataclasses.replace(row, **same) == before
    assert other.budget.startswith("1,600 images per method")


def test_a_number_within_the_warm_start_is_refused_for_the_methods_that_have_one():
    suite = with_images(find_suite("people"), 48_000)
    with pytest.raises(UserError, match=r"48,000 images are too few for eggan-52-people: .* first 64,000"):
        check_warm_starts(suite.rows, all_methods())
    others = [row for row in suite.rows if not row.name.startswith("eggan-52")]
    with pytest.raises(UserError, match="too few for eggan-150-people"):
        check_warm_starts(others, all_methods())
    check_warm_starts((row for row in suite.rows if "eggan-w" in row.name), all_methods())
    check_warm_starts(with_images(find_suite("people"), 80_000).rows, all_methods())
    check_warm_starts(find_suite("paper").rows, all_methods())  # its images are counted in epochs


@pytest.mark.parametrize(("method", "warm"), [("stargan", 300), ("ganimation", 300), ("homointerpgan", 600)])
def test_the_warm_start_of_a_baseline_counts_as_eggans(eggan, tmp_path, method, warm):
    folders = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    words = ("bench", "run", "twin", "--dry-run", "--only", method, *folders, "--images")
    status, _, err = eggan(*words, 16 * warm)
    said = f"{16 * warm:,} images are too few for {method}: in its preset 'cpu' the first {16 * warm:,} teach"
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert eggan(*words, 16 * warm + 16)[0] == 0


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_every_suites_own_images_reach_beyond_all_warm_starts(suite: Suite):
    check_warm_starts(suite.rows, all_methods())


def test_cells_on_other_images_stand_beside_the_suites_own(tmp_path):
    def run(suite: Suite) -> dict[str, str]:
        assert BenchSession(suite, make_bench(tmp_path), [], [], [], offline=True).run() == 0
        folders = (tmp_path / "runs" / "cells").glob("*")
        records = {folder.name: tracking.read_record(folder) for folder in folders}
        return {key: record.tags.get("budget", "") for key, record in records.items()}

    own = run(tiny_suite())
    both = run(with_images(tiny_suite(), 16))
    assert own.items() < both.items()
    trained = sum(row.training is not None for row, _ in tiny_suite().cells())
    new = [budget for key, budget in both.items() if key not in own]
    assert new == ["16 images per method, as was asked for"] * trained


@pytest.mark.parametrize("wrong", ["0", "-5", "many", "1.5", "48,000", ""])
def test_every_command_with_a_number_of_images_says_the_same_of_what_is_none(
    eggan, capsys, monkeypatch, wrong
):
    said = f"argument --images: {wrong!r} is not a number of images, such as 48000; "
    for words in (("bench", "run", "quick"), ("study", "run", "loss-weights"), ("study", "ranks", "s")):
        status, _, err = eggan(*words, f"--images={wrong}")
        assert (status, said in err, err.count("\n")) == (2, True, 1), err
    monkeypatch.setattr(sys, "argv", ["run", "node", "--minutes", "8", f"--images={wrong}"])
    with pytest.raises(SystemExit) as left:
        run_here.parse()
    err = capsys.readouterr().err
    assert (left.value.code, said in err, err.count("\n")) == (2, True, 1), err


def test_a_bundle_takes_the_suites_own_number_too(monkeypatch):
    for word, images in (("own", "own"), ("48000", 48_000)):
        monkeypatch.setattr(sys, "argv", ["run", "node", "--minutes", "8", "--images", word])
        assert run_here.parse().images == images


def test_the_command_plans_with_the_number_and_refuses_one_within_the_warm_start(eggan, tmp_path):
    folders = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    status, _, err = eggan("bench", "run", "standard", "--images", "16", "--only", "eggan", *folders)
    assert (status, "16 images are too few for eggan" in err, err.count("\n")) == (2, True, 1)
    status, _, _ = eggan(
        "bench", "run", "standard", "--images", "16", "--only", "eggan-w", "--dry-run", *folders
    )
    assert status == 0
    assert not (tmp_path / "data").exists()
