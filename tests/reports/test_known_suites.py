"""`--suite NAME` of a name that no suite has, or that has no runs."""

import pytest

from benchmarks.suites.suite import SUITES
from eggan.tracking import RunRecord, TrackedRun, open_store

REPORTS = (("report", "build"), ("report", "export", "out"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of results with one cell of a suite of before."""
    folder = tmp_path_factory.mktemp("runs")
    tags = {"suite": "miniature", "dataset": "d", "method": "eggan", "seed": "0", "cell": "k"}
    TrackedRun(folder / "cell", RunRecord("eggan/d/s0", tags), open_store(None, folder)).finish("finished")
    return folder


@pytest.mark.parametrize("words", REPORTS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("standrad", "unknown suite 'standrad': did you mean standard? (known: miniature, quick, standard,"),
        ("minature", "unknown suite 'minature': did you mean miniature?"),
        ("nothing-like-it", "unknown suite 'nothing-like-it' (known: miniature, quick, "),
        ("twin", "no runs of suite 'twin', it has some of miniature: run `eggan bench run twin --runs "),
        (
            "crowd",
            "no runs of suite 'crowd', it has some of miniature: run `eggan bench run standard --runs ",
        ),
    ],
)
def test_it_is_one_line_that_says_which_may_have_been_meant(runs, eggan, monkeypatch, words, name, said):
    monkeypatch.chdir(runs)
    status, _, err = eggan(*words, "--suite", name, "--runs", runs)
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert not (runs / "out").exists()


@pytest.mark.parametrize("words", REPORTS)
def test_the_name_comes_before_a_store_that_is_not_there(tmp_path, eggan, words):
    status, _, err = eggan(*words, "--suite", "standrad", "--runs", tmp_path / "runs")
    assert (status, "did you mean standard?" in err) == (2, True), err
    for name in SUITES:
        status, _, err = eggan(*words, "--suite", name, "--runs", tmp_path / "runs")
        assert (status, f"run `eggan bench run {name} --runs" in err) == (2, True), err


def test_runs_that_lie_there_without_a_store_are_shipped_and_not_run_again(tmp_path, eggan):
    TrackedRun(tmp_path / "cell", RunRecord("x", {"suite": "quick"}), None).finish("finished")
    for words in (("report", "build"), ("ui",)):
        status, _, err = eggan(*words, "--runs", tmp_path)
        assert (status, f"`eggan bench sync --runs {tmp_path}` ships those" in err) == (2, True), err
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("words", [("ui",), ("bench", "sync"), ("report", "build")])
def test_a_folder_without_runs_is_not_made_but_told_how_to_fill_it(tmp_path, eggan, words):
    for folder in (tmp_path / "missing", tmp_path):
        before = sorted(tmp_path.rglob("*"))
        status, _, err = eggan(*words, "--runs", folder)
        assert (status, err.count("\n")) == (2, 1), err
        assert f"run `eggan bench run quick --runs {folder}` first" in err
        assert sorted(tmp_path.rglob("*")) == before


def test_a_study_that_is_not_there_is_said_before_a_store_is_made(tmp_path, eggan):
    status, _, err = eggan("study", "sync", "mine", "--runs", tmp_path / "runs")
    assert (status, "holds no study" in err) == (2, True)
    assert not (tmp_path / "runs").exists()
