"""How many images fit into a number of minutes: training steps are timed, and what is left is divided."""

import dataclasses
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmarks.speed import Stepper
from benchmarks.suites.suite import Suite
from eggan.config import to_dict
from eggan.errors import UserError
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
    """

    suite: str
    minutes: float
    images: int
    training_seconds: float
    scoring_seconds: float
    seconds_per_image: Mapping[str, float]

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {1 / each:,.0f}" for name, each in self.seconds_per_image.items() if each)
        return (
            f"{self.minutes:g} minutes in all, {self.training_seconds:.0f} s of them for training: "
            f"{self.images:,} images per method (timed, images/s: {rates})"
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


def seconds_per_image(run: TrainingRun) -> float:
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
    del stepper
    gc.collect()
    if run.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return median(blocks) / run.training.batch_size


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
    images = images_that_fit(training, [costs[row.method] for row in trained], batch)
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
