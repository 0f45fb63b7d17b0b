"""Several cells at a time on a node: none takes another with it, they end in time, none begins in vain."""

import argparse
import dataclasses
import io
import signal
import sys
import threading
import time
from importlib import import_module
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bundle import cell_workers, node, timing
from benchmarks.bundle.bringing_home import bring_home
from benchmarks.bundle.budget import Budget, images_that_fit, until_all_end, write_budget
from benchmarks.bundle.cell_workers import InTurn, SideBySide
from benchmarks.bundle.node_run import OWN, NodeCell, NodeRun, Pace, listed_cells
from benchmarks.bundle.node_suite import run_within
from benchmarks.bundle.packing import pack
from benchmarks.bundle.processes import Job, run_jobs
from benchmarks.bundle.run_here import parse
from benchmarks.bundle.timing import Timed, is_ready, meeting, timed_cell
from benchmarks.protocol.true_edits import TruthCache
from benchmarks.running.cells import all_cells, read_status
from benchmarks.running.environment import open_suite
from benchmarks.running.suite_run import plan_suite
from benchmarks.suites.suite import Row, find_suite
from eggan.errors import UserError
from eggan.tracking import read_record
from tests.benchmarks import node_child
from tests.benchmarks.fakes import TRAINING, make_bench, render, tiny_suite

ROOT = Path(__file__).resolve().parents[2]


# --- processes

WORK = """
import os, signal, sys, time
from pathlib import Path

def work(arguments):
    place, name = arguments.place, arguments.name
    if name == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name == "saving":
        signal.signal(signal.SIGTERM, lambda *_: (Path(place, "saved").touch(), os._exit(5)))
    Path(place, f"{name}-{time.monotonic()}").touch()
    print(f"at work with {os.environ['OMP_NUM_THREADS']}\\nand more", flush=True)
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name in ("stubborn", "saving"):
        time.sleep(60)
    while name == "pair" and len(list(Path(place).glob("pair*"))) < 2:
        time.sleep(0.01)
    if name == "pair":
        time.sleep(0.2)
    return 3 if name == "failing" else 0

def time_work(arguments):
    folder, number = arguments.times, arguments.number
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{number}.ready").touch()
    while len(list(folder.glob("*.ready"))) < arguments.together:
        time.sleep(0.01)
    (folder / f"{number}.json").write_text('{"seconds": 0.5, "operations": 8.0}')
    return 0
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return what makes jobs of names; each leaves a file with its name when it begins."""
    (tmp_path / "node_work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "node_work", raising=False)
    work = import_module("node_work").work

    def made(*names: str) -> list[Job]:
        return [
            Job(f"{name} {number}", argparse.Namespace(run=work, place=tmp_path, name=name))
            for number, name in enumerate(names)
        ]

    return made


def begun(folder: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in folder.glob("*-*")}


def test_processes_run_side_by_side_and_one_that_dies_ends_no_other(jobs, tmp_path, capfd):
    """The two of a pair end once both have begun."""
    ends = {}
    asked = []

    def waiting():
        for job in jobs("killed", "pair", "pair", "failing", "fine"):
            asked.append(len(ends))
            yield job

    run_jobs(waiting(), 2, 10.0, lambda job, status, seconds: ends.update({job.name: (status, seconds)}))
    assert {name: status for name, (status, _) in ends.items()} == {
        "killed 0": -signal.SIGKILL,
        "pair 1": 0,
        "pair 2": 0,
        "failing 3": 3,
        "fine 4": 0,
    }
    assert all(seconds > 0 for _, seconds in ends.values())
    assert asked[:2] == [0, 0]  # both at once; every other one as one ends
    assert asked[2:] == [1, 2, 3]
    said = capfd.readouterr().err
    assert "fine 4: at work with 1\n" in said
    assert "failing 3: and more\n" in said


def test_jobs_of_one_name_are_jobs_of_their_own(jobs):
    ends = []
    same = [dataclasses.replace(job, name="alike") for job in jobs("pair", "pair", "failing")]
    run_jobs(iter(same), 2, 10.0, lambda job, status, _: ends.append((job.arguments.name, status)))
    assert sorted(ends) == [("failing", 3), ("pair", 0), ("pair", 0)]


def test_what_stops_a_run_lets_processes_save_and_ends_those_that_do_not_stop(jobs, tmp_path):
    def stop(job: Job, status: int, seconds: float) -> None:
        while not begun(tmp_path) >= {"saving", "stubborn"}:
            time.sleep(0.01)
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(iter(jobs("saving", "stubborn", "fine", "never")), 3, 1.0, stop)
    assert (tmp_path / "saved").exists()
    assert begun(tmp_path) == {"saving", "stubborn", "fine"}
    assert time.monotonic() - started < 30  # the two would have slept for a minute


def test_nobody_waits_for_a_process_that_died_before_it_could_be_timed(jobs, tmp_path, monkeypatch):
    jobs()
    monkeypatch.setattr(cell_workers, "time_one", sys.modules["node_work"].time_work)
    suite = tiny_suite(references=False)
    opened = open_suite(dataclasses.replace(suite, seeds=(0, 1)), make_bench(tmp_path / "faces"))
    given = argparse.Namespace(stopping=9.0)
    assert SideBySide(given, 2)._timed(plan_suite(opened), opened) == [Timed(), Timed(0.5, 8.0)]


# --- minutes


def test_jobs_that_begin_in_their_order_end_together_when_the_last_of_them_does():
    assert until_all_end([3.0, 1.0, 1.0, 4.0], 1) == 9.0
    assert until_all_end([3.0, 1.0, 1.0, 4.0], 2) == 6.0  # 3 beside 1 + 1 + 4
    assert until_all_end([3.0, 1.0], 6) == 3.0
    assert until_all_end([], 2) == 0.0
    assert images_that_fit(100.0, [0.01, 0.03], 16) == 2112
    assert images_that_fit(100.0, [0.01, 0.03], 16, processes=2) == 2832  # 0.85 * 100 / 0.03 = 2833.3


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_minutes_that_hold_no_work_are_refused_by_a_dry_run_too(dry, tmp_path, monkeypatch, capsys):
    words = ["quick", "--minutes", "0.01", "--out", str(tmp_path / "out"), *dry]
    monkeypatch.setattr(sys, "argv", ["run", *words])
    monkeypatch.setattr(node.startup, "prepare", lambda: None)
    assert node.run(parse()) == 2
    assert capsys.readouterr().err == "eggan: --minutes 0.01 are too few: give more\n"
    assert not (tmp_path / "out").exists()


def test_a_cell_that_cannot_be_finished_is_not_begun(tmp_path, monkeypatch):
    """By the slowest of its row, or of all while none of its row has finished; references are short."""
    rows = (Row("painter", "good", TRAINING), Row("painter", "nan", TRAINING, variant="b"), Row("mean-au"))
    suite = tiny_suite(references=False)
    opened = open_suite(dataclasses.replace(suite, rows=rows), make_bench(tmp_path))
    painter, other, reference = plan_suite(opened)
    pace = Pace(time.monotonic() + 100)
    assert [pace.refusal(plan) for plan in (painter, other, reference)] == ["", "", ""]
    pace.ended(painter, 20.0)
    pace.ended(reference, 500.0)
    assert pace.refusal(other) == ""
    pace.ended(painter, 130.0)
    pace.ended(painter, 30.0)
    assert pace.refusal(painter).startswith("not begun, it would take 130 s of the 99 s that are left") or (
        pace.refusal(painter).startswith("not begun, it would take 130 s of the 100 s that are left")
    )
    assert pace.refusal(other)
    pace.ended(other, 50.0)
    assert pace.refusal(other) == ""
    assert pace.refusal(reference) == ""
    assert Pace(time.monotonic() - 1).refusal(reference)
    assert Pace().until == inf
    monkeypatch.setattr(time, "time", lambda: 4e9)  # the machine has just been told the time
    assert Pace(time.monotonic() + 100).refusal(painter) == ""


def test_cells_that_cannot_be_finished_any_more_are_named_and_the_rest_is_kept(tmp_path, capsys):
    """Of three seeds on the suite's own images the first is begun: nothing is known of its time."""

    class Slow(Pace):
        def ended(self, plan, seconds):
            super().ended(plan, 1000.0)

    suite = tiny_suite(references=False)
    suite = dataclasses.replace(suite, seeds=(0, 1, 2))
    rendered = []

    def counted(*given, **options):
        rendered.append(given)
        return render(*given, **options)

    opened = open_suite(suite, dataclasses.replace(make_bench(tmp_path), render=counted))
    opened.render_true_edits()
    plans, before = plan_suite(opened), len(rendered)
    InTurn().run([NodeCell(plan, opened) for plan in plans], Slow(time.monotonic() + 60))
    states = [read_status(opened.bench.cell_folder(plan.spec.key)).state for plan in plans]
    assert states == ["finished", "pending", "pending"]
    assert len(rendered) == before  # a cell beside others finds all that it compares with
    said = capsys.readouterr().out
    assert "[2/3] painter/synfacs-fake/s1: not begun, it would take 1000 s of the " in said
    own = {read_status(cell).values["spec"]["training"]["images"] for cell in all_cells(tmp_path / "runs")}
    assert own == {TRAINING.images}
    # what is finished is reused, and nothing is said
    InTurn().run([NodeCell(plans[0], opened)], Slow(time.monotonic() - 1))
    assert capsys.readouterr().out == ""


def test_as_many_are_timed_at_once_as_will_run_and_the_slower_time_counts(monkeypatch, tmp_path):
    """Five methods, two at a time: the last one is timed beside the first."""
    plans = plan_suite(open_suite(tiny_suite(), make_bench(tmp_path)))  # painter and four references
    groups = []

    def timed_together(self, group, opened):
        groups.append([plan.spec.method for plan in group])
        return [Timed(float(len(groups) + place)) for place, _ in enumerate(group)]

    monkeypatch.setattr(SideBySide, "_timed", timed_together)
    costs = SideBySide(argparse.Namespace(), 2).time([*plans, plans[0]], None)
    names = [plan.spec.method for plan in plans]
    assert groups == [names[:2], names[2:4], [names[4], names[0]]]
    assert costs[names[0]] == Timed(4.0)  # 1.0 the first time
    assert costs[names[3]] == Timed(3.0)
    groups.clear()
    SideBySide(argparse.Namespace(), 3).time(plans[:1] * 5, None)
    assert groups == [[names[0]] * 3]
    groups.clear()
    SideBySide(argparse.Namespace(), 6).time(plans[:2], None)
    assert groups == [names[:2]]


def test_trainings_are_timed_once_all_are_ready(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.05)
    opened = open_suite(tiny_suite(references=False), make_bench(tmp_path / "a"))
    (plan,) = plan_suite(opened)
    times: dict[int, Timed] = {}

    def work(number: int) -> None:
        times[number] = timed_cell(plan, opened, meeting(tmp_path, number, 2))

    first = threading.Thread(target=work, args=(0,))
    first.start()
    while not (tmp_path / "0.ready").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    assert times == {}
    is_ready(tmp_path, 1)  # the other one has died
    first.join()
    assert times[0].seconds > 0


# --- several suites


def two_suites():
    """Return suites that share a painter and a reference; the second has a seed more."""
    first = dataclasses.replace(tiny_suite(), rows=(*tiny_suite(references=False).rows, Row("copy-source")))
    return first, dataclasses.replace(first, name="second", seeds=(0, 1))


def test_cells_of_several_suites_are_run_once_each_and_both_suites_are_recorded(tmp_path, capsys):
    run = NodeRun(tmp_path, 1.0, time.monotonic() + 60, images=8)
    assert run_within(two_suites(), make_bench(tmp_path), run)
    said = capsys.readouterr().out
    numbered = [line for line in said.splitlines() if line.startswith("[")]
    assert [line.split()[0] for line in numbered] == ["[1/3]", "[2/3]", "[3/3]"]
    assert [line.split()[1] for line in numbered[-2:]] == [
        "painter/synfacs-fake/s0",
        "painter/synfacs-fake/s1",
    ]
    assert len(all_cells(tmp_path / "runs")) == 3
    recorded = [read_record(folder) for folder in (tmp_path / "runs").glob("suites/*")]
    assert sorted((record.tags["suite"], record.state) for record in recorded) == [
        ("second", "finished"),
        ("tiny", "finished"),
    ]
    assert pack(tmp_path).not_begun == []


def test_a_process_of_a_cell_opens_the_suite_that_the_cell_is_of(tmp_path):
    opened = open_suite(two_suites()[1], make_bench(tmp_path))
    given = argparse.Namespace(suites=["tiny", "second"], stopping=9.0)
    job = SideBySide(given, 2)._job(plan_suite(opened)[0], opened, "a cell")
    assert job.arguments.suite == "second"


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_several_suites_need_a_number_of_images(dry, tmp_path, monkeypatch, capsys):
    words = ["quick", "node", "--minutes", "9", "--out", str(tmp_path / "out"), *dry]
    monkeypatch.setattr(sys, "argv", ["run", *words])
    monkeypatch.setattr(node.startup, "prepare", lambda: None)
    assert node.run(parse()) == 2
    assert "give --images own" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    if dry:
        monkeypatch.setattr(sys, "argv", ["run", *words, "--images", "own"])
        assert node.run(parse()) == 0
        said = capsys.readouterr().out
        listed = [line.split() for line in said.splitlines()[1:]]
        trains = [images != "-" for *_, images in listed]
        assert trains == sorted(trains)  # as in a run: first all that needs no training
        assert [line[0] for line in listed] == [str(number + 1) for number in range(len(listed))]
        assert {suite for _, suite, *_ in listed} == {"quick", "node"}


# --- what is asked for


def dry_run(monkeypatch, capsys, *words: object) -> tuple[int, list[str], str]:
    """Return status, lines and mistake of a dry run on a node."""
    monkeypatch.setattr(sys, "argv", ["run", *map(str, words), "--minutes", "9", "--dry-run"])
    monkeypatch.setattr(node.startup, "prepare", lambda: None)
    status = node.run(parse())
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err


def test_a_dry_run_refuses_what_the_run_would(tmp_path, monkeypatch, capsys):
    write_budget(Budget("quick", 8.0, 160, 100.0, 5.0, {"eggan": 0.1}), tmp_path / "used")
    (tmp_path / "file").touch()
    for words, reason in (
        (("quick", "--images", 16), "16 images are too few for eggan"),
        (("quick", "--device", "abacus"), "abacus"),
        (("quick", "--out", tmp_path / "used"), "budget.json says which images fit into 8 minutes"),
        (("quick", "--out", "/proc/foo"), "cannot write /proc/foo"),
        (("quick", "--out", tmp_path / "out", "--data", "/proc/foo"), "cannot write /proc/foo"),
    ):
        status, lines, err = dry_run(monkeypatch, capsys, *words)
        assert (status, lines, reason in err, err.count("\n")) == (2, [], True, 1), err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_a_suite_that_is_named_twice_and_a_cell_of_two_suites_once(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    once = dry_run(monkeypatch, capsys, "quick")
    assert dry_run(monkeypatch, capsys, "quick", "quick") == once
    assert once[0] == 0
    assert list(tmp_path.iterdir()) == []
    first, second = two_suites()
    lines = listed_cells([first, second], NodeRun(Path("x"), 8.0, 0.0, 8)).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["1", "tiny", "copy-source/synfacs-64/s0", "-"],
        ["2", "tiny", "painter/synfacs-64/s0", "8"],
        ["3", "second", "painter/synfacs-64/s1", "8"],
    ]


def test_cells_are_listed_in_the_order_in_which_they_are_run():
    run = NodeRun(Path("x"), 8.0, 0.0, OWN)
    lines = listed_cells([find_suite("standard")], run).splitlines()[1:]
    assert [line.split()[1] for line in lines[:5]] == [
        "copy-source/synfacs-64/s0",
        "target-passthrough/synfacs-64/s0",
        "mean-au/synfacs-64/s0",
        "oracle/synfacs-64/s0",
        "eggan/synfacs-64/s0",
    ]
    seeds = [line.split()[1][-1] for line in lines[4:]]
    assert seeds == sorted(seeds)
    assert {line.split()[2] for line in lines[4:]} == {"144,000"}
    (last,) = listed_cells(
        [find_suite("crowd")], NodeRun(Path("x"), 8.0, 0.0, 320, ["eggan-crowd"], [4])
    ).splitlines()[1:]
    assert last.split() == ["1", "eggan/synfacs-64/s4", "320"]
    (fitting,) = listed_cells(
        [find_suite("node")], NodeRun(Path("x"), 8.0, 0.0, None, ["eggan-w"])
    ).splitlines()[1:]
    assert fitting.split() == ["1", "eggan-w/synfacs-64/s0", "as", "fit"]
    assert "400 epochs" in listed_cells([find_suite("paper")], run)
    for only, seeds in ((["nope"], []), ([], [7]), (["oracle"], [1])):
        with pytest.raises(UserError, match=r"unknown method|has no seed 7|no cell of this suite is left"):
            listed_cells([find_suite("standard")], NodeRun(Path("x"), 8.0, 0.0, None, only, seeds))


def test_on_a_gpu_cells_run_side_by_side_where_nobody_says_otherwise(monkeypatch):
    for cores, at_once in ((1, 1), (2, 1), (8, 4), (16, 8), (64, 8)):
        monkeypatch.setattr(node, "allowed_cores", lambda cores=cores: cores)
        assert node.default_processes("cuda:0") == at_once
        assert node.default_processes("cpu") == 1


def test_runs_may_share_what_is_rendered(tmp_path):
    given = argparse.Namespace(out=tmp_path / "a", data=None, device="cpu", workers=2)
    alone = cell_workers.bench_of(given)
    assert (alone.data, alone.cache) == (tmp_path / "a" / "data", tmp_path / "a" / "runs" / "cache")
    given.data = tmp_path / "shared"
    shared = cell_workers.bench_of(given)
    assert (shared.data, shared.cache) == (tmp_path / "shared", tmp_path / "shared" / "cache")
    assert shared.runs == tmp_path / "a" / "runs"


def test_what_two_runs_need_is_rendered_by_one_of_them(tmp_path):
    opened = open_suite(tiny_suite(), make_bench(tmp_path))
    edits = opened.scoring.splits[0].edits
    begun, rendered = threading.Event(), []

    def slow(*given, **options):
        rendered.append(given)
        begun.set()
        time.sleep(0.3)
        return render(*given, **options)

    found = []
    cache = TruthCache(tmp_path / "shared", 1, slow)
    first = threading.Thread(target=lambda: found.append(cache.of(edits, "edits")))
    first.start()
    begun.wait()
    found.append(cache.of(edits, "edits"))
    first.join()
    assert len(rendered) == 1
    assert (found[0] == found[1]).all()


def test_true_edits_that_are_damaged_are_rendered_again(tmp_path, capsys):
    edits = open_suite(tiny_suite(), make_bench(tmp_path)).scoring.splits[0].edits
    cache = TruthCache(tmp_path / "shared", 1, render)
    right = np.array(cache.of(edits, "edits"))
    path = cache.path(edits)
    whole = path.read_bytes()
    other = io.BytesIO()
    np.save(other, right[1:])
    for broken in (b"", b"mine", whole[:-1], whole[:20], other.getvalue()):
        capsys.readouterr()
        path.write_bytes(broken)
        assert np.array_equal(cache.of(edits, "edits"), right)
        assert capsys.readouterr().err.count(f"{path} is damaged or of another version") == 1
        assert path.read_bytes() == whole


# --- all of it


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_other_cell_to_be_trained_scored_and_packed(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cell_workers, "run_one", node_child.run_one)
    given = {"suite": "tiny", "out": tmp_path, "data": None, "device": "cpu", "workers": 1, "stopping": 9.0}
    workers = SideBySide(argparse.Namespace(**given), 2)
    run = NodeRun(tmp_path, 2.0, time.monotonic() + 120.0, images=8)
    assert not run_within([node_child.suite()], node_child.bench_of(workers.arguments), run, workers)
    cells = {read_status(cell).values["name"]: read_status(cell) for cell in all_cells(tmp_path / "runs")}
    painter, killer = cells["painter/synfacs-fake/s0"], cells["killer/synfacs-fake/s0"]
    assert painter.state == "finished"
    assert painter.values["spec"]["training"]["images"] == 8
    assert (killer.state, killer.reason[:17]) == ("interrupted", "its process ended")
    assert "killer/synfacs-fake/s0: interrupted after" in capfd.readouterr().out
    assert workers.start_seconds > 0
    node.settle_all(tmp_path / "runs")
    lines = bring_home(pack(tmp_path).parts, tmp_path / "home")
    assert lines == ["results-1-of-1.eggan: 2 cells brought"]
    record = read_record(next((tmp_path / "home").glob("cells/*")))
    assert record.tags["budget"] == "8 images per method, as was asked for"
