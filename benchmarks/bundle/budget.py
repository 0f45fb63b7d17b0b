"""How many images fit into a number of minutes: what is left is divided by what was timed."""

import dataclasses
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from benchmarks.bundle.timing import Timed
from benchmarks.speed import machine_ceiling
from benchmarks.suites.suite import Row
from eggan.config import to_dict
from eggan.errors import UserError
from eggan.files import is_number, read_json, write_json

BUDGET_FILE = "budget.json"
SHARE = 0.85  # of what is left; logs, probes, checkpoints and slower steps take the rest


@dataclass(frozen=True)
class Budget:
    """What was measured, and the `images` per method that were chosen by it.

    `training_seconds` is what was left for all trainings together, `scoring_seconds` is of one cell.
    `seconds_per_image` is of one of `processes` trainings that were timed at once.
    `share_of_ceiling` is, by method, the rate of a training's operations over that of a matrix product on
    the same GPU, `ceiling_tflops`; it is not measured on a CPU.
    """

    suite: str
    minutes: float
    images: int
    training_seconds: float
    scoring_seconds: float
    seconds_per_image: Mapping[str, float]
    ceiling_tflops: float = 0.0
    share_of_ceiling: Mapping[str, float] = field(default_factory=dict)
    processes: int = 1

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {1 / each:,.0f}" for name, each in self.seconds_per_image.items() if each)
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.share_of_ceiling.items())
        product = f"; share of {self.ceiling_tflops:.0f} TFLOP/s, a matrix product's: {shares}"
        ceiling = product if shares else ""
        beside = f", {self.processes} at a time" if self.processes > 1 else ""
        return (
            f"{self.minutes:g} minutes in all, {self.training_seconds:.0f} s of them for training: "
            f"{self.images:,} images per method (timed{beside}, images/s: {rates}{ceiling})"
        )


def images_that_fit(
    seconds: float, seconds_per_image: Sequence[float], batch_size: int, processes: int = 1
) -> int:
    """Return how many images each training may see, a multiple of the batch; 0 where not one batch fits."""
    together = until_all_end(seconds_per_image, processes)
    return int(SHARE * max(0.0, seconds) / together / batch_size) * batch_size


def until_all_end(seconds: Iterable[float], at_once: int) -> float:
    """Return when the last of some jobs ends that begin in their order, `at_once` at a time."""
    ends = [0.0] * at_once
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def with_ceiling(budget: Budget, costs: Mapping[str, Timed], device: str) -> Budget:
    """Return the budget with each method's share of what a matrix product reaches on this device."""
    counted = {name: cost for name, cost in costs.items() if cost.operations}
    if not counted:
        return budget
    reached = machine_ceiling(device)
    ceiling = reached["matmul_bf16_gflops" if "matmul_bf16_gflops" in reached else "matmul_fp32_gflops"]
    shares = {name: cost.operations / cost.seconds / ceiling / 1e9 for name, cost in counted.items()}
    return dataclasses.replace(budget, ceiling_tflops=ceiling / 1000, share_of_ceiling=shares)


def divided(
    suite: str,
    trained: Sequence[Row],
    minutes: float,
    seconds_left: float,
    scoring: float,
    costs: Mapping[str, float],
    processes: int = 1,
) -> Budget:
    """Divide the seconds that are left among the trained cells of a suite, given by their rows, `processes`
    of which run at a time; too few seconds are a `UserError`.
    """
    if not any(costs.values()):
        raise UserError(f"no method of the suite {suite} can be trained here; it has been said why")
    batch = max(row.training.batch_size for row in trained if row.training is not None)
    training = seconds_left - scoring * ceil(len(trained) / processes)
    images = images_that_fit(training, [costs[row.name] for row in trained], batch, processes)
    if not images:
        raise UserError(
            f"{minutes:g} minutes are too few: {max(0.0, training):.0f} s are left for training "
            f"{len(trained)} cells, and scoring takes {scoring:.0f} s a cell: give more --minutes"
        )
    return Budget(suite, minutes, images, training, scoring, costs, processes=processes)


def write_budget(budget: Budget, out: Path) -> None:
    """Keep a budget, so that the same command goes on with it."""
    write_json(to_dict(budget), out / BUDGET_FILE)


def read_budget(out: Path, suite: str, minutes: float) -> Budget | None:
    """Return the budget of an earlier call in this folder, None where there was none.

    One of another suite, or of another number of minutes, is a `UserError`.
    """
    path = out / BUDGET_FILE
    if not path.is_file():
        return None
    try:
        budget: Budget | None = Budget(**read_json(path))
    except (ValueError, TypeError):
        budget = None
    if budget is None or not _has_its_kinds(budget):
        raise UserError(f"{path} is damaged: remove it to measure anew")
    if budget.suite != suite:
        raise UserError(f"{out} holds results of the suite {budget.suite}: choose another --out")
    if budget.minutes != minutes:
        raise UserError(
            f"{path} says which images fit into {budget.minutes:.10g} minutes: give --minutes "
            f"{budget.minutes:.10g} to go on with them, or remove it to measure anew"
        )
    return budget


def _has_its_kinds(budget: Budget) -> bool:
    """Return whether every value has the kind that is written."""
    rates = (budget.seconds_per_image, budget.share_of_ceiling)
    if not isinstance(budget.suite, str) or not all(isinstance(each, Mapping) for each in rates):
        return False
    times = (budget.minutes, budget.training_seconds, budget.scoring_seconds, budget.ceiling_tflops)
    numbers = [*times, *(value for each in rates for value in each.values())]
    counts = (budget.images, budget.processes)
    return all(map(is_number, numbers)) and all(isinstance(value, int) and value > 0 for value in counts)
