"""What a call on a node asks for: which cells of which suites, on how many images, until when."""

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from benchmarks.running.bench_console import table
from benchmarks.running.cells import PlannedCell
from benchmarks.running.environment import OpenSuite
from benchmarks.suites.former_names import present_method
from benchmarks.suites.suite import Row, Suite

OWN = "own"  # as many images as the suite has for each of its cells


@dataclass(frozen=True)
class NodeRun:
    """`images` are of every training: a number, `OWN`, or None for as many, equal for all, as fit.

    `until` is when a run is over, by `time.monotonic`, which all processes of a machine share and nobody
    sets; `minutes` is what it covers in all, for readers.
    `only` and `seeds` choose cells, as in `eggan bench run`. Results go to `out`.
    """

    out: Path
    minutes: float
    until: float
    images: int | str | None = None
    only: Sequence[str] = ()
    seeds: Sequence[int] = ()

    @classmethod
    def of(cls, arguments: argparse.Namespace, until: float) -> "NodeRun":
        """Read the arguments of a bundle's command."""
        choice = {"images": arguments.images, "only": arguments.only, "seeds": arguments.seed}
        return cls(arguments.out, arguments.minutes, until, **choice)

    @property
    def methods(self) -> list[str]:
        """The chosen methods by their present names, none for all."""
        return [present_method(name) for name in self.only]


@dataclass(frozen=True)
class NodeCell:
    """A cell to run, and the suite that it is of: the first one, where several share it."""

    plan: PlannedCell
    opened: OpenSuite


def in_running_order(cells: Iterable[NodeCell]) -> list[NodeCell]:
    """Return cells as they are run, each once: in the order of suites, what needs no training first."""
    once: dict[str, NodeCell] = {}
    for cell in cells:
        once.setdefault(cell.plan.spec.key, cell)
    return sorted(once.values(), key=lambda cell: cell.plan.row.training is not None)


def listed_cells(suites: Sequence[Suite], run: NodeRun) -> str:
    """Return a line for each cell that a run would begin, each once and in order; of several suites with the
    one that it is run for. Their datasets need not be there.
    """
    once: dict[object, tuple[Suite, Row, int]] = {}
    for suite in suites:
        for row, seed in suite.chosen(run.methods, run.seeds):
            decides = replace(row, expected_minutes=0.0), seed, suite.image_size, suite.dataset_seed
            once.setdefault((decides, suite.protocol), (suite, row, seed))
    ordered = sorted(once.values(), key=lambda cell: cell[1].training is not None)
    several = ["suite"] if len(suites) > 1 else []
    rows = [
        [
            str(number),
            *(suite.name for _ in several),
            f"{row.name}/{suite.dataset}/s{seed}",
            _images_of(row, run),
        ]
        for number, (suite, row, seed) in enumerate(ordered, start=1)
    ]
    return table(["", *several, "cell", "images"], rows)


def _images_of(row: Row, run: NodeRun) -> str:
    """Return on how many images a row is trained, as far as that is known beforehand."""
    if row.training is None:
        return "-"
    if run.images != OWN:
        return str(run.images or "as fit")
    return f"{row.training.images:,}" if row.training.images else f"{row.training.epochs:g} epochs"


class Pace:
    """Which cells can still be finished until a time, judged by those that finished before in this run."""

    def __init__(self, until: float = inf) -> None:
        self.until = until
        self._seconds: dict[Row, float] = {}  # suites may have different rows of one name

    def ended(self, plan: PlannedCell, seconds: float) -> None:
        """Note how long a cell took that has finished; of a row the slowest counts."""
        if plan.row.training is not None:
            self._seconds[plan.row] = max(seconds, self._seconds.get(plan.row, 0.0))

    def expected(self, plan: PlannedCell) -> float:
        """Return how long a cell will take: as the slowest of its row, else of all; 0 where none is known."""
        if plan.row.training is None:
            return 0.0
        return self._seconds.get(plan.row, max(self._seconds.values(), default=0.0))

    def refusal(self, plan: PlannedCell) -> str:
        """Return why a cell must not be begun any more, nothing for one that may."""
        left, expected = self.until - time.monotonic(), self.expected(plan)
        if expected < left:
            return ""
        return f"not begun, it would take {expected:.0f} s of the {max(0.0, left):.0f} s that are left"
