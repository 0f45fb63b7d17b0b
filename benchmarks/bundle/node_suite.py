"""A suite within a number of minutes: what needs no training first, then as many images for all as fit."""

import dataclasses
import time
from pathlib import Path

from benchmarks.bundle.budget import (
    Budget,
    Timed,
    divided,
    read_budget,
    timed,
    with_ceiling,
    with_images,
    write_budget,
)
from benchmarks.bundle.packing import PLANNED
from benchmarks.running.bench_console import summary_text
from benchmarks.running.cells import PlannedCell, read_status
from benchmarks.running.environment import BenchEnvironment, OpenSuite, open_suite
from benchmarks.running.suite_run import open_suite_run, plan_suite, run_cell
from benchmarks.suites.presets import preset_config
from benchmarks.suites.shipped_methods import ShippedMethod
from benchmarks.suites.suite import Suite
from eggan.errors import UserError, one_line
from eggan.files import write_json
from eggan.method import MethodEntry
from eggan.signals import stop_as_interrupt
from eggan.training_run import TrainingRun


def run_within(suite: Suite, bench: BenchEnvironment, minutes: float, until: float, out: Path) -> bool:
    """Run a suite's cells before the time `until` (seconds since 1970); return whether all are finished.

    What `minutes` covers in all is recorded. Too few of them are a `UserError`; an interruption is recorded
    and raised.
    """
    with stop_as_interrupt():
        opened = open_suite(suite, bench)
        write_json([plan.spec.name for plan in plan_suite(opened)], out / PLANNED)
        opened.render_true_edits()
        untrained = [plan for plan in plan_suite(opened) if plan.row.training is None]
        for plan in untrained:
            run_cell(plan, opened)
        budget = read_budget(out, suite.name) or _measured(opened, untrained, minutes, until)
        write_budget(budget, out)
        print(budget, flush=True)
        trained = dataclasses.replace(opened, suite=with_images(suite, budget.images), budget=str(budget))
        return _run_all(trained)


def _measured(opened: OpenSuite, untrained: list[PlannedCell], minutes: float, until: float) -> Budget:
    """Time the training of every method, and divide what is then left.

    A method that cannot be timed costs nothing here: its cell will fail and say why, as in any suite.
    A trained cell is taken to be scored in the time of the slowest one of shipped weights.
    """
    bench, costs = opened.bench, dict[str, Timed]()
    for plan in plan_suite(opened):
        if plan.row.training is None or plan.spec.method in costs:
            continue
        if not isinstance(plan.entry, MethodEntry):
            raise UserError(f"{plan.spec.method} cannot be trained")
        dataset, config = opened.training_data(plan.row), preset_config(plan.entry, plan.row)
        run = TrainingRun(
            plan.entry, config, plan.row.training, dataset, plan.spec.seed, bench.device, bench.cache
        )
        try:
            costs[plan.spec.method] = timed(run)
        except Exception as error:  # a bug in one method must not take the others with it
            print(f"{plan.spec.method} cannot be timed: {one_line(error)}", flush=True)
            costs[plan.spec.method] = Timed()
    scoring = scoring_seconds(untrained, bench)
    seconds = {name: cost.seconds for name, cost in costs.items()}
    budget = divided(opened.suite, minutes, until - time.time(), scoring, seconds)
    return with_ceiling(budget, costs, bench.device)


def scoring_seconds(untrained: list[PlannedCell], bench: BenchEnvironment) -> float:
    """Return the seconds of the slowest cell of shipped weights, or of all where the suite has none.

    References are a poor measure: the first one renders what all show, and the oracle its edits.
    """
    alike = [plan for plan in untrained if isinstance(plan.entry, ShippedMethod)] or untrained
    recorded = [read_status(bench.cell_folder(plan.spec.key)).values for plan in alike]
    return max((float(values.get("seconds", 0.0)) for values in recorded), default=0.0)


def _run_all(opened: OpenSuite) -> bool:
    plans = plan_suite(opened)
    suite_run = open_suite_run(opened, plans)
    states: list[str] = []
    try:
        for number, plan in enumerate(plans, start=1):
            print(f"[{number}/{len(plans)}] {plan.spec.name}", flush=True)
            states.append(run_cell(plan, opened))
    finally:
        finished = states.count("finished") == len(plans)
        left = f"{len(plans) - states.count('finished')} of {len(plans)} cells are not finished"
        state = "finished" if finished else "interrupted" if len(states) < len(plans) else "failed"
        suite_run.finish(state, "" if finished else left)
    print(summary_text(plans, opened.bench), flush=True)
    return finished
