"""What an image costs in training, alone on the device or beside other trainings."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import torch

from benchmarks.running.cells import PlannedCell
from benchmarks.running.environment import OpenSuite
from benchmarks.speed import Stepper
from benchmarks.suites.presets import preset_config
from eggan.errors import UserError, one_line
from eggan.method import MethodEntry
from eggan.progress import working
from eggan.training_run import TrainingRun

BLOCK = 5  # steps at least: whole cycles of those methods that update a network every second or third step
MOST_BLOCKS = 5
TIMED_SECONDS = 2.0  # of a method, once its kernels are chosen
READY = ".ready"
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Timed:
    """What an image costs in training: seconds, and floating-point operations (0 on a CPU: not counted)."""

    seconds: float = 0.0
    operations: float = 0.0


def timed_cell(plan: PlannedCell, opened: OpenSuite, meet: Callable[[], None] | None = None) -> Timed:
    """Time the training of a cell as `timed` does; one that cannot be timed says why and costs nothing.

    Its cell will fail and say why, as in any suite.
    """
    if not isinstance(plan.entry, MethodEntry) or plan.row.training is None:
        raise UserError(f"{plan.spec.method} cannot be trained")
    bench, dataset = opened.bench, opened.training_data(plan.row)
    config, training = preset_config(plan.entry, plan.row), plan.row.training
    run = TrainingRun(
        plan.entry, config, training, dataset, plan.spec.seed, bench.device, bench.cache, bench.progress
    )
    try:
        return timed(run, meet)
    except Exception as error:  # a bug in one method must not take the others with it
        print(f"{plan.spec.method} cannot be timed: {one_line(error)}", flush=True)
        return Timed()


def timed(run: TrainingRun, meet: Callable[[], None] | None = None) -> Timed:
    """Return what an image costs in training: the median of short blocks of steps after any warm-up.

    What comes before the first step, such as the training of a classifier, stays in the run's cache. With
    `meet`, which returns once others are as far, all take steps for an equal time, and the mean counts: what
    one of them waits for another belongs to its cost.
    """
    with working(f"timing {run.entry.title}"):
        stepper = Stepper(run)
        stepper.warm_up()
        if meet is not None:
            meet()
        steps, blocks = stepper.block_of(BLOCK), list[float]()
        most, started = MOST_BLOCKS if meet is None else float("inf"), time.monotonic()
        while len(blocks) < most and (not blocks or time.monotonic() - started < TIMED_SECONDS):
            blocks.append(stepper.block(steps))
        operations = _operations(stepper) if run.device.startswith("cuda") else 0.0
    del stepper
    gc.collect()
    if run.device.startswith("cuda"):
        torch.cuda.empty_cache()
    seconds = median(blocks) if meet is None else fmean(blocks[1:] or blocks)
    return Timed(seconds / run.training.batch_size, operations / run.training.batch_size)


def _operations(stepper: Stepper) -> float:
    """Return the operations of a step, 0 with a note where they cannot be counted."""
    try:
        return stepper.flops(stepper.block_of(BLOCK))
    except Exception as error:
        print(f"{stepper.run.entry.name}: operations cannot be counted ({one_line(error)})", flush=True)
        return 0.0


def meeting(folder: Path, number: int, count: int) -> Callable[[], None]:
    """Return what waits until `count` processes are ready, of which this one has a `number`."""

    def meet() -> None:
        is_ready(folder, number)
        while len(list(folder.glob(f"*{READY}"))) < count:
            time.sleep(LOOK_SECONDS)

    return meet


def is_ready(folder: Path, number: int) -> None:
    """Let nobody wait for a process: it has come to the meeting, or never will."""
    (folder / f"{number}{READY}").touch()
