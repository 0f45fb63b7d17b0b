"""Suites that learn from SynFACS' crowd: which cells stand on which people, and what a table says."""

from dataclasses import replace

import pytest

from benchmarks.running.bench_session import BenchSession
from benchmarks.running.cells import read_status
from benchmarks.running.earlier_training import _training_of
from benchmarks.running.environment import open_suite, suite_datasets
from benchmarks.running.suite_run import plan_suite
from benchmarks.suites.ablated_methods import UNPAIRED
from benchmarks.suites.methods import METHODS, all_methods, find_method, installed_method
from benchmarks.suites.pairs_method import PAIRS, with_pairs
from benchmarks.suites.suite import (
    CROWD,
    FALLING_TRAINING,
    FEWER_PEOPLE,
    HEADLINE_SEEDS,
    REFERENCES,
    TWIN,
    Row,
    find_suite,
)
from eggan import tracking
from eggan.errors import UserError
from tests.benchmarks.fakes import TRAINING, fake_entry, make_bench, make_dataset, tiny_suite

TWICE = replace(fake_entry(), name="painter-crowd", title="Painter (crowd)", learns_from_true_edits=True)


def crowd_bench(root):
    """An environment whose builds are painted: the twin as `make_bench` has it, a crowd of five people."""
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


def test_each_row_learns_from_its_own_people(tmp_path, capsys):
    bench, suite = crowd_bench(tmp_path), replace(two_rows(), name="standard")
    assert suite.roles == (TWIN, CROWD)
    assert BenchSession(suite, bench, [], [], [], offline=True).run() == 0
    recorded = {}
    for folder in (tmp_path / "runs" / "cells").iterdir():
        record, spec = tracking.read_record(folder), read_status(folder).values["spec"]
        training = [entry["name"] for entry in record.datasets if "train" in entry["context"]]
        recorded[spec["method"]] = (record.tags["learns_from"], training, sorted(spec["datasets"]))
    assert recorded == {
        "painter": ("2 people", ["synfacs-twin-64"], [TWIN]),
        "painter-crowd": ("4 people and true edits", ["synfacs-crowd-64"], [CROWD, TWIN]),
        "mean-au": ("", ["synfacs-twin-64"], [TWIN]),
    }
    former = "1 of the cells here are of the former suite standard, called twin now: eggan bench run twin"
    assert former in capsys.readouterr().out


def test_a_training_on_the_crowd_is_never_taken_for_one_on_the_twin():
    spec = {"method": "m", "datasets": {"twin": "t", "wide": "w"}}
    assert _training_of(spec) != _training_of(spec | {"datasets": {"twin": "t", "crowd": "c"}})
    assert _training_of(spec) == _training_of(spec | {"datasets": {"twin": "t"}})


def test_eggan_on_the_twin_differs_in_its_people_alone():
    standard, twin = find_suite("standard"), find_suite("twin")
    assert standard.roles == ("twin", "wide", "crowd")
    assert twin.roles == ("twin", "wide")
    assert standard.protocol == twin.protocol
    rows = {row.name: row for row in standard.rows}
    of_twin = rows.pop("eggan-twin")
    assert replace(of_twin, learns_from=CROWD, variant="", seeds=HEADLINE_SEEDS) == rows["eggan"]
    assert {row.name for row in rows.values() if row.learns_from == TWIN} == {r.name for r in REFERENCES}


def test_every_row_of_the_suite_is_there_and_sees_as_many_images():
    methods, suite = all_methods(), find_suite("standard")
    rows = [row for row in suite.rows if row.learns_from == CROWD]
    baselines = {"stargan", "homointerpgan", "ganimation"}
    ours = {"eggan", "eggan-w", "eggan-w-wide", PAIRS, UNPAIRED.name}
    assert ours | baselines == {r.name for r in rows}
    for row in rows:
        entry = find_method(row.method, methods)
        assert row.preset in entry.presets
        assert row.training == (FALLING_TRAINING if row.name == "eggan-w-wide" else rows[0].training)
        assert entry.learns_from_true_edits == (row.method in (PAIRS, "eggan-w"))
        assert row.labelled == entry.learns_from_labels == (row.method in ("stargan", "homointerpgan"))


def test_headline_rows_have_five_seeds_and_the_other_methods_three():
    seeds = {}
    for row, seed in find_suite("standard").cells():
        if row.training:
            seeds.setdefault(row.name, []).append(seed)
    assert {name for name, own in seeds.items() if own == [0, 1, 2, 3, 4]} == {"eggan", "eggan-w"}
    assert {name for name, own in seeds.items() if own == [0, 1, 2]} == {
        "eggan-w-wide",
        "stargan",
        "homointerpgan",
        "ganimation",
    }
    assert {name for name, own in seeds.items() if own == [0]} == {PAIRS, UNPAIRED.name, "eggan-twin"}
    find_suite("standard").chosen([], [4])


def test_the_wide_row_differs_in_its_width_and_in_how_long_its_rate_falls():
    rows = {row.name: row for row in find_suite("standard").rows}
    usual, wide = rows["eggan-w"], rows["eggan-w-wide"]
    assert wide.training == replace(usual.training, decay_from=0.4)
    assert replace(wide, preset="cpu", variant="", expected_minutes=0, training=usual.training) == replace(
        usual, seeds=None, expected_minutes=0
    )
    presets = METHODS["eggan-w"].presets
    assert replace(presets["wide"], channels=presets["cpu"].channels) == presets["cpu"]


def test_results_against_people_are_told_apart_by_people_alone():
    suite, standard = find_suite("people"), {row.name: row for row in find_suite("standard").rows}
    for people in FEWER_PEOPLE:
        rows = {row.method: row for row in suite.rows if row.people == people}
        assert set(rows) == {"eggan", "eggan-w", "stargan", "homointerpgan"}
        for method, row in rows.items():
            assert row.name == f"{method}-{people}-people"
            assert replace(row, people=None, variant="", seeds=None) == replace(standard[method], seeds=None)
    everybody = [row for row in suite.rows if row.training and row.people is None]
    assert [replace(row, seeds=None) for row in everybody] == [
        replace(standard[row.name], seeds=None) for row in everybody
    ]


def test_true_edits_are_all_that_tells_the_pairs_from_eggan():
    for name, preset in with_pairs(METHODS["eggan"]).presets.items():
        assert preset.weight_true_edit > 0
        assert replace(preset, weight_true_edit=0.0) == METHODS["eggan"].presets[name]


def test_former_names_of_the_suite_and_its_rows_work():
    assert find_suite("crowd") is find_suite("standard")
    methods = all_methods()
    assert find_method("stargan-crowd", methods) is methods["stargan"]
    assert installed_method("eggan-crowd").name == "eggan"


def test_rows_with_fewer_people_learn_from_them_and_are_reported_as_such(tmp_path):
    """Four training people in the crowd: two rows of one method, told apart by two of them and all."""
    bench = crowd_bench(tmp_path)
    rows = [
        Row("painter", "good", TRAINING, learns_from=CROWD, people=people, variant=variant)
        for people, variant in ((2, "2 people"), (None, ""))
    ]
    suite = replace(tiny_suite(), rows=tuple(rows))
    assert BenchSession(suite, bench, [], [], [], offline=True).run() == 0
    found = {}
    for folder in (tmp_path / "runs" / "cells").iterdir():
        record, spec = tracking.read_record(folder), read_status(folder).values["spec"]
        found[spec["method"]] = record.tags["title"], record.tags["learns_from"], spec["datasets"][CROWD]
    assert [recorded[:2] for _, recorded in sorted(found.items())] == [
        ("Painter", "4 people"),
        ("Painter (2 people)", "2 people"),
    ]
    assert found["painter"][2] != found["painter-2-people"][2]
    again = replace(suite, rows=tuple(rows[:1]))
    assert plan_suite(open_suite(again, bench))[0].spec.datasets[CROWD] == found["painter-2-people"][2]


def test_photographs_have_no_crowd(tmp_path):
    bench = make_bench(tmp_path)
    with pytest.raises(UserError, match="learns from SynFACS' crowd"):
        suite_datasets(two_rows(), bench)
