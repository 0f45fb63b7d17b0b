"""Suites within a number of minutes: what needs no training first, then as many images, or cells, as fit."""

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.bundle.budget import Budget, divided, read_budget, with_ceiling, write_budget
from benchmarks.bundle.cell_workers import CellWorkers, InTurn
from benchmarks.bundle.node_run import NodeCell, NodeRun, Pace, in_running_order
from benchmarks.bundle.packing import PLANNED
from benchmarks.running.bench_console import summary_text
from benchmarks.running.cells import PlannedCell, read_status
from benchmarks.running.environment import BenchEnvironment, OpenSuite, open_suite
from benchmarks.running.expected_cost import SCORING_MINUTES
from benchmarks.running.suite_run import open_suite_run, plan_suite, select, state_of_cells
from benchmarks.suites.equal_images import check_warm_starts, with_images
from benchmarks.suites.shipped_methods import ShippedMethod
from benchmarks.suites.suite import Suite
from eggan.data.workers import kept_processes
from eggan.files import write_json
from eggan.signals import stop_as_interrupt

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry


def run_within(
    suites: Sequence[Suite], bench: BenchEnvironment, run: NodeRun, workers: CellWorkers | None = None
) -> bool:
    """Run the cells of suites before `run.until`; return whether all that were chosen are finished.

    Images that fit are measured for one suite. Without `workers` this process runs the cells. Too few minutes
    are a `UserError`; an interruption is recorded and raised.
    """
    suites = checked(suites, run, bench.methods)
    workers = workers or InTurn()
    with stop_as_interrupt():
        opened = _rendered(suites, bench, run)
        if run.images is not None:
            return _run_all(opened, run, workers, Pace(run.until))
        (one,) = opened
        return _run_all([_with_images_that_fit(one, run, workers)], run, workers, Pace())


def checked(suites: Sequence[Suite], run: NodeRun, methods: "Mapping[str, Entry]") -> list[Suite]:
    """Return the suites, each once, with the images that were asked for.

    Images that leave a method none after its warm start, and a budget of another call, are a `UserError`.
    """
    once = list({suite.name: suite for suite in suites}.values())
    if isinstance(run.images, int):
        once = [with_images(suite, run.images) for suite in once]
    for suite in once:
        rows = [row for row, _ in suite.chosen(run.methods, run.seeds)]
        check_warm_starts(rows, methods)
        if run.images is None and any(row.training is not None for row in rows):
            read_budget(run.out, suite.name, run.minutes)
    return once


def _rendered(suites: Sequence[Suite], bench: BenchEnvironment, run: NodeRun) -> list[OpenSuite]:
    """Return the suites with what all their cells share rendered."""
    with kept_processes(bench.workers):
        opened = [open_suite(suite, bench) for suite in suites]
        _note_planned([_chosen(plan_suite(suite), suite, run) for suite in opened], run)
        for suite in opened:
            suite.render_true_edits()
    return opened


def _chosen(planned: Sequence[PlannedCell], opened: OpenSuite, run: NodeRun) -> list[PlannedCell]:
    return select(opened.suite, planned, run.methods, run.seeds)


def _in_order(opened: Sequence[OpenSuite], chosen: Sequence[Sequence[PlannedCell]]) -> list[NodeCell]:
    suites = zip(opened, chosen, strict=True)
    return in_running_order(NodeCell(plan, suite) for suite, plans in suites for plan in plans)


def _note_planned(chosen: Iterable[Sequence[PlannedCell]], run: NodeRun) -> None:
    """Note keys and names of the chosen cells: packing finds those that never began."""
    write_json({plan.spec.key: plan.spec.name for plans in chosen for plan in plans}, run.out / PLANNED)


def _with_images_that_fit(opened: OpenSuite, run: NodeRun, workers: CellWorkers) -> OpenSuite:
    """Return the suite with as many images for all as fit, once its cells without training have been run."""
    chosen = _chosen(plan_suite(opened), opened, run)
    plans = [cell.plan for cell in _in_order([opened], [chosen])]
    untrained = [plan for plan in plans if plan.row.training is None]
    trained = [plan for plan in plans if plan.row.training is not None]
    workers.run([NodeCell(plan, opened) for plan in untrained], Pace())
    if not trained:
        return opened
    budget = read_budget(run.out, opened.suite.name, run.minutes)
    budget = budget or _measured(opened, untrained, trained, run, workers)
    print(budget, flush=True)
    suite = with_images(opened.suite, budget.images)
    check_warm_starts((row for row, _ in suite.chosen(run.methods, run.seeds)), opened.bench.methods)
    write_budget(budget, run.out)  # not before it is known to do: the next call would go on with it
    return dataclasses.replace(opened, suite=suite, budget=str(budget))


def _measured(
    opened: OpenSuite,
    untrained: Sequence[PlannedCell],
    trained: Sequence[PlannedCell],
    run: NodeRun,
    workers: CellWorkers,
) -> Budget:
    """Time the training of every method, and divide what is then left.

    A method that cannot be timed costs nothing here: its cell will fail and say why, as in any suite.
    A trained cell is taken to be scored in the time of the slowest one of shipped weights.
    """
    costs = workers.time(trained, opened)
    measured = scoring_seconds(untrained, opened.bench) if untrained else 60 * SCORING_MINUTES
    scoring = measured + workers.start_seconds
    seconds = {name: cost.seconds for name, cost in costs.items()}
    rows = [plan.row for plan in trained]
    left = run.until - time.monotonic()
    budget = divided(opened.suite.name, rows, run.minutes, left, scoring, seconds, workers.at_once)
    return with_ceiling(budget, costs, opened.bench.device)


def scoring_seconds(untrained: Sequence[PlannedCell], bench: BenchEnvironment) -> float:
    """Return the seconds of the slowest cell of shipped weights, or of all where the suite has none.

    References are a poor measure: the first one renders what all show, and the oracle its edits.
    """
    alike = [plan for plan in untrained if isinstance(plan.entry, ShippedMethod)] or untrained
    recorded = [read_status(bench.cell_folder(plan.spec.key)).values for plan in alike]
    return max((float(values.get("seconds", 0.0)) for values in recorded), default=0.0)


def _run_all(opened: Sequence[OpenSuite], run: NodeRun, workers: CellWorkers, pace: Pace) -> bool:
    planned = [plan_suite(suite) for suite in opened]
    chosen = [_chosen(plans, suite, run) for plans, suite in zip(planned, opened, strict=True)]
    _note_planned(chosen, run)  # keys are of the images that were found to fit
    records = [open_suite_run(suite, plans) for suite, plans in zip(opened, planned, strict=True)]
    try:
        workers.run(_in_order(opened, chosen), pace)
    finally:
        ended = [state_of_cells(plans, suite.bench) for plans, suite in zip(chosen, opened, strict=True)]
        for record, (state, reason) in zip(records, ended, strict=True):
            record.finish(state, reason)
    for plans, suite in zip(chosen, opened, strict=True):
        print(summary_text(plans, suite.bench), flush=True)
    return all(state == "finished" for state, _ in ended)
