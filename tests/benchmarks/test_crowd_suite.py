"""The suite that learns from SynFACS' crowd: which cells stand on which people, and what a table says."""

from dataclasses import replace

import pytest

from benchmarks.running.bench_session import BenchSession
from benchmarks.running.cells import read_status
from benchmarks.running.earlier_training import _training_of
from benchmarks.running.environment import suite_datasets
from benchmarks.suites.crowd_methods import ON_CROWD, PAIRS, crowd_methods
from benchmarks.suites.methods import METHODS, all_methods, crowd_rows, find_method
from benchmarks.suites.suite import CROWD, REFERENCES, TWIN, Row, find_suite
from eggan import tracking
from eggan.errors import UserError
from tests.benchmarks.fakes import TRAINING, fake_entry, make_bench, make_dataset, tiny_suite

TWICE = replace(fake_entry(), name="painter-crowd", title="Painter (crowd)", learns_from_true_edits=True)


def crowd_bench(root):
    """A workbench whose builds are painted: the twin as `make_bench` has it, a crowd of five people."""
    people = {"twin": {"train": 2, "val": 1, "test": 3}, "crowd": {"train": 4, "val": 1}}

    def build(split, size, seed, workers, out):
        if not out.exists():
            make_dataset(out, people[split], name=f"synfacs-{split}", seed=len(split))
        return out

    bench = make_bench(root)
    return replace(
        bench,
        dataset=None,
        build=build,
        methods={**bench.methods, "painter-crowd": TWICE},
        data=root / "data",
    )


def two_rows():
    crowd = Row("painter-crowd", "good", TRAINING, learns_from=CROWD)
    return replace(tiny_suite(), rows=(Row("painter", "good", TRAINING), crowd, REFERENCES[2]))


def test_each_row_learns_from_its_own_people(tmp_path):
    bench, suite = crowd_bench(tmp_path), two_rows()
    assert suite.roles == (TWIN, CROWD)
    assert BenchSession(suite, bench, [], [], [], offline=True).run() == 0
    told = {}
    for folder in (tmp_path / "runs" / "cells").iterdir():
        record, spec = tracking.read_record(folder), read_status(folder).values["spec"]
        training = [entry["name"] for entry in record.datasets if "train" in entry["context"]]
        told[spec["method"]] = (record.tags["learns_from"], training, sorted(spec["datasets"]))
    assert told == {
        "painter": ("2 people", ["synfacs-twin-64"], [TWIN]),
        "painter-crowd": ("4 people and true edits", ["synfacs-crowd-64"], [CROWD, TWIN]),
        "mean-au": ("", ["synfacs-twin-64"], [TWIN]),
    }


def test_a_training_on_the_crowd_is_never_taken_for_one_on_the_twin():
    spec = {"method": "m", "datasets": {"twin": "t", "wide": "w"}}
    assert _training_of(spec) != _training_of(spec | {"datasets": {"twin": "t", "crowd": "c"}})
    assert _training_of(spec) == _training_of(spec | {"datasets": {"twin": "t"}})


def test_eggan_on_the_twin_differs_in_its_people_alone():
    crowd, standard = find_suite("crowd"), find_suite("standard")
    assert crowd.roles == ("twin", "wide", "crowd")
    assert standard.roles == ("twin", "wide")
    assert crowd.protocol == standard.protocol
    rows = {row.method: row for row in crowd.rows}
    assert replace(rows["eggan"], method="eggan-crowd", learns_from=CROWD) == rows["eggan-crowd"]
    assert {row.method for row in crowd.rows if row.learns_from == TWIN} == {
        "eggan",
        *(row.method for row in REFERENCES),
    }


def test_every_row_of_the_suite_is_there_and_sees_as_many_images():
    methods, rows = all_methods(), [row for row in find_suite("crowd").rows if row.learns_from == CROWD]
    assert {row.method for row in rows} == {*crowd_rows(), "eggan-w"}
    for row in rows:
        entry = find_method(row.method, methods)
        assert row.preset in entry.presets
        assert row.training == rows[0].training
        assert entry.learns_from_true_edits == (row.method in (PAIRS, "eggan-w"))


def test_true_edits_are_all_that_tells_the_pairs_from_the_crowd():
    rows = crowd_methods({name: METHODS[name] for name in ON_CROWD})
    for name, preset in rows[PAIRS].presets.items():
        assert preset.weight_true_edit > 0
        assert replace(preset, weight_true_edit=0.0) == rows["eggan-crowd"].presets[name]


def test_photographs_have_no_crowd(tmp_path):
    bench = make_bench(tmp_path)
    with pytest.raises(UserError, match="learns from SynFACS' crowd"):
        suite_datasets(two_rows(), bench)
