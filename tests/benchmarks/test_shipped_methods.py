"""Shipped weights are scored as they are: their file is in the cell's key, and nothing is trained."""

import dataclasses

import pytest

from benchmarks.running.bench_session import BenchSession
from benchmarks.running.cells import read_status
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.methods import METHODS, all_methods, shipped_rows
from benchmarks.suites.shipped_methods import METHOD_OF
from benchmarks.suites.suite import SUITES
from eggan import tracking
from eggan.errors import UserError
from eggan.shipped.weights import NAMES, read_card
from tests.benchmarks.fakes import make_bench, tiny_suite

ROW = "eggan-w-shipped"
SIZES = {(ROW, 64): "eggan_w_64", (ROW, 128): "eggan_w_128", ("eggan-shipped", 64): "eggan_64"}


def test_every_card_agrees_with_the_method_that_its_weights_are_listed_under():
    assert set(METHOD_OF) == set(NAMES)
    assert {name: read_card(name)["method"] for name in NAMES} == METHOD_OF


def test_quick_scores_the_shipped_weights_beside_what_it_trains():
    assert [row.method for row in SUITES["quick"].rows if row.training] == ["eggan"]
    assert set(shipped_rows()) <= {row.method for row in SUITES["quick"].rows}
    assert shipped_rows()["eggan-shipped"].learns_from == "1,500 people"
    entry = shipped_rows()[ROW]
    assert (entry.title, entry.reads) == ("EGGAN-W (shipped)", METHODS["eggan-w"].reads)
    assert entry.learns_from == "1,500 people and true edits"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    root = tmp_path_factory.mktemp("shipped")
    bench = dataclasses.replace(make_bench(root), methods=all_methods())
    suite = with_added_rows(tiny_suite(references=False), [ROW], bench.methods | {"painter": None})
    suite = dataclasses.replace(suite, rows=tuple(row for row in suite.rows if row.method == ROW))
    assert BenchSession(suite, bench, [], [], [], offline=True).run() == 0
    (folder,) = (root / "runs" / "cells").glob("*")
    return folder


def test_its_cell_is_scored_and_holds_no_training(scored):
    assert read_status(scored).state == "finished"
    assert not list(scored.glob("*.safetensors")) + list(scored.glob("training_state*"))
    record = tracking.read_record(scored)
    assert record.tags["title"] == "EGGAN-W (shipped)"
    assert record.tags["learns_from"] == "1,500 people and true edits"
    assert record.params["config.sha256"] == read_card("eggan_w_64")["sha256"]
    assert (scored / "scores" / "showcase.npz").is_file()
    assert (scored / "scores" / "summary.json").is_file()


@pytest.mark.parametrize("command", [("train",), ("check-method",)])
def test_it_cannot_be_trained(eggan, tmp_path, command):
    words = ("--dataset", tmp_path) if command == ("train",) else ()
    status, _, err = eggan(*command, ROW, *words)
    assert (status, f"{ROW} is trained already" in err) == (2, True)


def test_a_suite_of_another_size_takes_the_weights_of_its_size_or_refuses():
    rows = shipped_rows()
    chosen = {(name, size): rows[name].for_size(size).weights for name, size in SIZES}
    assert chosen == SIZES
    suite = with_added_rows(SUITES["paper"], [ROW], all_methods())
    assert suite.rows[-1].method == ROW
    with pytest.raises(UserError, match=r"no weights for 128 px are shipped \(there are some for 64 px\)"):
        with_added_rows(SUITES["paper"], ["eggan-shipped"], all_methods())
