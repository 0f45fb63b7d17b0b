"""How many images fit into a number of minutes: training steps are timed, and what is left is divided."""

import dataclasses
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from benchmarks.speed import Stepper, machine_ceiling
from benchmarks.suites.suite import Suite
from eggan.config import to_dict
from eggan.errors import UserError, one_line
from eggan.files import read_json, write_json
from eggan.progress import working
from eggan.training_run import TrainingRun

BUDGET_FILE = "budget.json"
BLOCK = 5  # steps: some methods update a network every second, fourth or fifth step alone
MOST_BLOCKS = 5
TIMED_SECONDS = 2.0  # of a method, once its kernels are chosen
SHARE = 0.85  # of what is left; logs, probes, checkpoints and slower steps take the rest


@dataclass(frozen=True)
class Budget:
    """What was measured, and the `images` per method that were chosen by it.

    `training_seconds` is what was left for all trainings together, `scoring_seconds` is of one cell.
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

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {1 / each:,.0f}" for name, each in self.seconds_per_image.items() if each)
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.share_of_ceiling.items())
        product = f"; share of {self.ceiling_tflops:.0f} TFLOP/s, a matrix product's: {shares}"
        ceiling = product if shares else ""
        return (
            f"{self.minutes:g} minutes in all, {self.training_seconds:.0f} s of them for training: "
            f"{self.images:,} images per method (timed, images/s: {rates}{ceiling})"
        )


def images_that_fit(seconds: float, seconds_per_image: Sequence[float], batch_size: int) -> int:
    """Return how many images each training may see, a multiple of the batch; 0 where not one batch fits."""
    return int(SHARE * max(0.0, seconds) / sum(seconds_per_image) / batch_size) * batch_size


def with_images(suite: Suite, images: int) -> Suite:
    """Return a suite whose methods are all trained on as many images."""
    rows = [
        row
        if row.training is None
        else dataclasses.replace(row, training=dataclasses.replace(row.training, images=images))
        for row in suite.rows
    ]
    return dataclasses.replace(suite, rows=tuple(rows))


@dataclass(frozen=True)
class Timed:
    """What an image costs in training: seconds, and floating-point operations (0 on a CPU: not counted)."""

    seconds: float = 0.0
    operations: float = 0.0


def timed(run: TrainingRun) -> Timed:
    """Return what an image costs in training: the median of short blocks of steps after any warm-up.

    What comes before the first step, such as the training of a classifier, stays in the run's cache.
    """
    with working(f"timing {run.entry.title}"):
        stepper = Stepper(run)
        stepper.block(1)
        blocks: list[float] = []
        started = time.monotonic()
        while len(blocks) < MOST_BLOCKS and (not blocks or time.monotonic() - started < TIMED_SECONDS):
            blocks.append(stepper.block(BLOCK))
        operations = _operations(stepper) if run.device.startswith("cuda") else 0.0
    del stepper
    gc.collect()
    if run.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return Timed(median(blocks) / run.training.batch_size, operations / run.training.batch_size)


def _operations(stepper: Stepper) -> float:
    """Return the operations of a step, 0 with a note where they cannot be counted."""
    try:
        return stepper.flops(BLOCK)
    except Exception as error:
        print(f"{stepper.run.entry.name}: operations cannot be counted ({one_line(error)})", flush=True)
        return 0.0


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
    suite: Suite, minutes: float, seconds_left: float, scoring: float, costs: Mapping[str, float]
) -> Budget:
    """Divide the seconds that are left among the trained cells of a suite; too few are a `UserError`."""
    trained = [row for row, _ in suite.cells() if row.training is not None]
    if not trained:
        raise UserError(f"the suite {suite.name} trains nothing: choose another one")
    if not any(costs.values()):
        raise UserError(f"no method of the suite {suite.name} can be trained here; it has been said why")
    batch = max(row.training.batch_size for row in trained if row.training is not None)
    training = seconds_left - scoring * len(trained)
    images = images_that_fit(training, [costs[row.name] for row in trained], batch)
    if not images:
        raise UserError(
            f"{minutes:g} minutes are too few: {max(0.0, training):.0f} s are left for training "
            f"{len(trained)} cells, and scoring takes {scoring:.0f} s a cell: give more --minutes"
        )
    return Budget(suite.name, minutes, images, training, scoring, costs)


def write_budget(budget: Budget, out: Path) -> None:
    """Keep a budget, so that the same command goes on with it."""
    write_json(to_dict(budget), out / BUDGET_FILE)


def read_budget(out: Path, suite: str) -> Budget | None:
    """Return the budget of an earlier call in this folder, None where there was none."""
    path = out / BUDGET_FILE
    if not path.is_file():
        return None
    try:
        budget = Budget(**read_json(path))
    except (ValueError, TypeError):
        raise UserError(f"{path} is damaged: remove it to measure anew") from None
    if budget.suite != suite:
        raise UserError(f"{out} holds results of the suite {budget.suite}: choose another --out")
    return budget
