"""What a cell will cost here, and how that is known: finished cells, a measured speed, or a guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.running.cells import TRAINED, WEIGHTS_OF, CellStatus, all_cells, folder_mib, read_status
from benchmarks.running.measured_speed import known_rate, was_run_on
from benchmarks.suites.methods import find_method
from benchmarks.suites.presets import preset_config
from eggan import tracking
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
    """Return the medians of finished cells of the same row on this machine; before there are any, what the
    method's speed on this device says, where it is known, else the suite's guess. A cell that does not train
    has its weights already, and is only scored.
    """
    alike = _finished_here(row, bench)
    if alike:
        spent = [_seconds(values) for values in alike.values()]
        seconds = median(scoring + training if trains else scoring for training, scoring in spent)
        count = f"{len(alike)} finished cell{'s' if len(alike) > 1 else ''}"
        return ExpectedCost(seconds / 60, median(map(folder_mib, alike)), count)
    mib = TRAINED_MIB if row.training else REFERENCE_MIB
    if not trains:
        return ExpectedCost(SCORING_MINUTES, mib, "a guess")
    return _of_known_speed(row, bench, mib) or ExpectedCost(row.expected_minutes, mib, "a guess")


def _finished_here(row: "Row", bench: "BenchEnvironment") -> dict[Path, dict[str, Any]]:
    statuses = {folder: read_status(folder) for folder in all_cells(bench.runs)}
    alike = {folder: status.values for folder, status in statuses.items() if _is_of(row, status)}
    here = tracking.describe_machine(bench.device) if alike else {}
    return {folder: values for folder, values in alike.items() if was_run_on(here, folder)}


def _of_known_speed(row: "Row", bench: "BenchEnvironment", mib: float) -> ExpectedCost | None:
    entry = find_method(row.method, bench.methods)
    if row.training is None or not isinstance(entry, MethodEntry):
        return None
    config = preset_config(entry, row)
    rate = known_rate(bench.runs, entry, config, row.training.autocast, bench.device)
    if rate is None:
        return None
    minutes = row.training.images / rate.images_per_second / 60
    return ExpectedCost(minutes + SCORING_MINUTES, mib, rate.source)


def _seconds(values: Mapping[str, Any]) -> tuple[float, float]:
    """Return how long a finished cell's training took and how long its scoring.

    One that took over another cell's weights recorded that one's training, and spent no time on it.
    """
    trained = values.get(TRAINED) or {}
    training = trained.get("cost/build_seconds", 0.0) + trained.get("cost/train_seconds", 0.0)
    return training, max(0.0, values["seconds"] - (0.0 if WEIGHTS_OF in values else training))


def _is_of(row: "Row", status: CellStatus) -> bool:
    spec = status.values.get("spec", {})
    training = to_dict(row.training) if row.training else {}
    return status.state == "finished" and spec.get("method") == row.name and spec.get("training") == training
