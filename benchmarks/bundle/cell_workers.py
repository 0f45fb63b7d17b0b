"""Who works on the cells of a node's run: this process on one after the other, or several on one GPU.

Both are asked for the same: to run cells, and to time what an image costs each method.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from benchmarks.bundle.node_run import NodeCell, Pace
from benchmarks.bundle.processes import Job, run_jobs
from benchmarks.bundle.timing import Timed, is_ready, meeting, timed_cell
from benchmarks.running.cells import PlannedCell, claim, read_status, settle
from benchmarks.running.environment import BenchEnvironment, OpenSuite, load_instruments, open_suite
from benchmarks.running.suite_run import plan_suite, record_death, run_cell, with_key
from benchmarks.suites.equal_images import with_images
from benchmarks.suites.suite import find_suite
from eggan.child_process import end_with_parent, how_ended
from eggan.config import to_dict
from eggan.data.workers import kept_processes
from eggan.evaluation.reading import Instruments
from eggan.files import read_json, write_json
from eggan.progress import clock
from eggan.signals import stop_as_interrupt

UNFINISHED = 1


class CellWorkers(Protocol):
    """Whoever runs cells and times their methods, `at_once` at a time.

    `start_seconds` is what a cell took beside its own work so far, at most.
    """

    at_once: int
    start_seconds: float

    def run(self, cells: Sequence[NodeCell], pace: Pace) -> None:
        """Run the cells that are not finished, in their order, as long as the pace lets them begin."""

    def time(self, plans: Sequence[PlannedCell], opened: OpenSuite) -> dict[str, Timed]:
        """Return what an image costs the method of each cell; cells of a method count once."""


class InTurn:
    """This process, which runs one cell after the other."""

    at_once, start_seconds = 1, 0.0

    def run(self, cells: Sequence[NodeCell], pace: Pace) -> None:
        """As `CellWorkers` says."""
        for cell in _begun(cells, pace):
            started = time.monotonic()
            state = run_cell(cell.plan, cell.opened)
            _note_end(cell.plan, state, time.monotonic() - started, pace)

    def time(self, plans: Sequence[PlannedCell], opened: OpenSuite) -> dict[str, Timed]:
        """As `CellWorkers` says."""
        return {plan.spec.method: timed_cell(plan, opened) for plan in _of_each_method(plans)}


class SideBySide:
    """Processes that share the device, one per cell: what ends one of them ends no other.

    `arguments` are the command's own, from which each process opens the suite anew.
    """

    def __init__(self, arguments: argparse.Namespace, at_once: int) -> None:
        self.arguments, self.at_once, self.start_seconds = arguments, at_once, 0.0

    def run(self, cells: Sequence[NodeCell], pace: Pace) -> None:
        """As `CellWorkers` says."""
        by_key = {cell.plan.spec.key: cell for cell in cells}

        def on_end(job: Job, status: int, seconds: float) -> None:
            plan, bench = by_key[job.arguments.cell].plan, by_key[job.arguments.cell].opened.bench
            if status:
                record_death(plan, bench, how_ended(status))
            found = read_status(bench.cell_folder(plan.spec.key))
            self.start_seconds = max(self.start_seconds, seconds - found.values.get("seconds", seconds))
            _note_end(plan, found.state, seconds, pace)

        begun = _begun(cells, pace)
        jobs = (self._job(cell.plan, cell.opened, cell.plan.spec.name, run=run_one) for cell in begun)
        run_jobs(jobs, self.at_once, self.arguments.stopping, on_end)

    def time(self, plans: Sequence[PlannedCell], opened: OpenSuite) -> dict[str, Timed]:
        """Time as many at once as will run at once, each of them in a process of its own."""
        methods = _of_each_method(plans)
        at_once = min(self.at_once, len(plans))
        groups = [methods[first : first + at_once] for first in range(0, len(methods), at_once)]
        costs: dict[str, Timed] = {}
        for group in groups:
            beside = [methods[k % len(methods)] for k in range(at_once - len(group))]
            for plan, cost in zip([*group, *beside], self._timed([*group, *beside], opened), strict=True):
                costs[plan.spec.method] = max(
                    cost, costs.get(plan.spec.method, cost), key=lambda one: one.seconds
                )
        return costs

    def _timed(self, plans: Sequence[PlannedCell], opened: OpenSuite) -> list[Timed]:
        with tempfile.TemporaryDirectory(prefix="eggan-times-") as place:
            folder = Path(place)
            own = {"run": time_one, "times": folder, "together": len(plans)}
            jobs = [
                self._job(plan, opened, f"timing {number} {plan.spec.method}", number=number, **own)
                for number, plan in enumerate(plans)
            ]
            run_jobs(
                jobs,
                len(jobs),
                self.arguments.stopping,
                lambda job, _status, _seconds: is_ready(folder, job.arguments.number),
            )
            paths = [folder / f"{number}.json" for number in range(len(plans))]
            return [Timed(**read_json(path)) if path.is_file() else Timed() for path in paths]

    def _job(self, plan: PlannedCell, opened: OpenSuite, name: str, **own: object) -> Job:
        own |= {"suite": opened.suite.name, "cell": plan.spec.key}
        own |= {"budget": opened.budget, "device": opened.bench.device}
        own |= {"images": None if plan.row.training is None else plan.row.training.images}
        return Job(name, argparse.Namespace(**{**vars(self.arguments), **own}))


def _begun(cells: Sequence[NodeCell], pace: Pace) -> Iterator[NodeCell]:
    """Yield the cells that are to be begun, each when somebody can begin it; say so of all."""
    for number, cell in enumerate(cells, start=1):
        spec = cell.plan.spec
        here, folder = f"[{number}/{len(cells)}] {spec.name}", cell.opened.bench.cell_folder(spec.key)
        with claim(folder) as ours:
            if ours and read_status(folder).state == "finished":
                settle(folder, cell.opened.store)
                continue
        refusal = pace.refusal(cell.plan)
        print(f"{here}: {refusal}" if refusal else here, flush=True)
        if not refusal:
            yield cell


def _note_end(plan: PlannedCell, state: str, seconds: float, pace: Pace) -> None:
    print(f"{plan.spec.name}: {state} after {clock(seconds)}", flush=True)
    if state == "finished":
        pace.ended(plan, seconds)


def _of_each_method(plans: Sequence[PlannedCell]) -> list[PlannedCell]:
    found: dict[str, PlannedCell] = {}
    for plan in plans:
        found.setdefault(plan.spec.method, plan)
    return list(found.values())


# --- processes


def bench_of(arguments: argparse.Namespace) -> BenchEnvironment:
    """Return folders and device of a command on a node; `arguments.device` is resolved."""
    data: Path | None = arguments.data
    return BenchEnvironment(
        runs=arguments.out / "runs",
        data=data or arguments.out / "data",
        device=arguments.device,
        workers=arguments.workers,
        instruments=node_instruments,
        shared_cache=None if data is None else data / "cache",
    )


def node_instruments(device: str) -> Instruments:
    """Load the shipped scorers: the landmark reader only where there is onnxruntime, which no bundle has.

    It is a third opinion, and cells without it have the same keys.
    """
    found = load_instruments(device)
    return found if reads_landmarks() else dataclasses.replace(found, landmarks=None)


def reads_landmarks() -> bool:
    """Return whether this Python can run the networks that find landmarks."""
    return find_spec("onnxruntime") is not None


def run_one(arguments: argparse.Namespace) -> int:
    """Run the cell with the key `arguments.cell` in this process; 0 once it is finished."""
    end_with_parent()
    with stop_as_interrupt(), kept_processes(arguments.workers):
        plan, opened = _open_cell(arguments)
        return 0 if run_cell(plan, opened) == "finished" else UNFINISHED


def time_one(arguments: argparse.Namespace) -> int:
    """Time the method of a cell beside the others of `arguments.together`, and leave what it costs a file."""
    end_with_parent()
    with stop_as_interrupt():
        plan, opened = _open_cell(arguments)
        cost = timed_cell(plan, opened, meeting(arguments.times, arguments.number, arguments.together))
        write_json(to_dict(cost), arguments.times / f"{arguments.number}.json")
    return 0


def _open_cell(arguments: argparse.Namespace) -> tuple[PlannedCell, OpenSuite]:
    suite = find_suite(arguments.suite)
    suite = suite if not arguments.images else with_images(suite, arguments.images)
    opened = open_suite(suite, bench_of(arguments), build=False)
    opened = dataclasses.replace(opened, budget=arguments.budget)
    return with_key(plan_suite(opened), arguments.cell), opened
