"""What a cell will cost here, and how that is known: finished cells, a measured speed, or a guess."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.running.cells import TRAINED, WEIGHTS_OF, CellStatus, all_cells, folder_mib, read_status
from benchmarks.running.measured_speed import TrainingRate, known_rate, of_this_machine
from benchmarks.suites.methods import find_method
from benchmarks.suites.presets import preset_config
from eggan.config import to_dict
from eggan.method import MethodEntry

if TYPE_CHECKING:
    from benchmarks.running.environment import BenchEnvironment
    from benchmarks.suites.suite import Row

TRAINED_MIB, REFERENCE_MIB = 40.0, 6.0  # of a cell, before one has been measured
SCORING_MINUTES = 0.5  # likewise; what a suite expects of a reference


@dataclass(frozen=True)
class ExpectedCost:
    """Minutes and MiB of a cell, and where the minutes come from."""

    minutes: float
    mib: float
    source: str


def expected_cost(row: "Row", bench: "BenchEnvironment", trains: bool = True) -> ExpectedCost:
    """Return what finished cells of the same row took on a machine like this one; before there are any, what
    the method's speed on this device says, where it is known, else the suite's guess. A cell that does not
    train has its weights already, and is only scored. Of the disk any finished cell of the row says it.
    """
    statuses = {folder: read_status(folder) for folder in all_cells(bench.runs)}
    alike = {folder: status.values for folder, status in statuses.items() if _is_of(row, status)}
    mine, elsewhere = of_this_machine(alike, bench.device)
    minutes, source = _minutes(row, bench, trains, [alike[folder] for folder in mine])
    if elsewhere and source == guess(bench.device):
        source += f"; {_cells_text(elsewhere)} of another machine"
    usual = TRAINED_MIB if row.training else REFERENCE_MIB
    return ExpectedCost(minutes, median(map(folder_mib, alike)) if alike else usual, source)


def _minutes(
    row: "Row", bench: "BenchEnvironment", trains: bool, mine: Sequence[Mapping[str, Any]]
) -> tuple[float, str]:
    """Return a cell's minutes, and where they come from; `mine` are finished cells of its row and machine."""
    training = [_training_seconds(values) for values in mine if WEIGHTS_OF not in values]
    scoring = [_scoring_seconds(values) for values in mine]
    if scoring and not trains:
        return median(scoring) / 60, _cells_text(len(mine))
    if training:
        return (median(scoring) + median(training)) / 60, _cells_text(len(mine))
    scored = median(scoring) / 60 if scoring else SCORING_MINUTES
    if not trains:
        return scored, guess(bench.device)
    known = _known_speed(row, bench)
    if row.training is None or known is None:
        return row.expected_minutes, guess(bench.device)
    return row.training.images / known.images_per_second / 60 + scored, known.source


def guess(device: str) -> str:
    """Return what stands beside a number that nobody measured: all of them are of processors."""
    return "a guess" if device == "cpu" else "a guess, of two CPU cores"


def _cells_text(count: int) -> str:
    return f"{count} finished cell{'s' if count > 1 else ''}"


def _known_speed(row: "Row", bench: "BenchEnvironment") -> TrainingRate | None:
    entry = find_method(row.method, bench.methods)
    if row.training is None or not isinstance(entry, MethodEntry):
        return None
    return known_rate(bench.runs, entry, preset_config(entry, row), row.training, bench.device)


def _training_seconds(values: Mapping[str, Any]) -> float:
    trained = values.get(TRAINED) or {}
    return float(trained.get("cost/build_seconds", 0.0) + trained.get("cost/train_seconds", 0.0))


def _scoring_seconds(values: Mapping[str, Any]) -> float:
    """Return how long a finished cell's scoring took.

    One that took over another cell's weights recorded that one's training, and spent no time on it.
    """
    spent = 0.0 if WEIGHTS_OF in values else _training_seconds(values)
    return max(0.0, float(values["seconds"]) - spent)


def _is_of(row: "Row", status: CellStatus) -> bool:
    spec = status.values.get("spec", {})
    training = to_dict(row.training) if row.training else {}
    done = status.state == "finished" and "seconds" in status.values
    return done and spec.get("method") == row.name and spec.get("training") == training
