"""A cell that is trained like an earlier one, and only scored otherwise, takes over its weights.

A new version of the protocol renames every cell, and minutes of scoring need no hours of training anew.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.running.cells import TRAINED, WEIGHTS_OF, CellSpec, all_cells, read_status
from benchmarks.suites.suite import CROWD, TWIN
from eggan import tracking
from eggan.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from eggan.errors import UserError
from eggan.tracking.record import logged_values

DECIDES = ("method", "method_version", "image_size", "seed", "config", "training")
PEAK = "peak_memory_mib"
CURVES = "train/"


def take_over_training(
    spec: CellSpec, folder: Path, runs: Path, log: Callable[[int, dict[str, float]], None]
) -> dict[str, Any] | None:
    """Copy weights and curves of a finished cell that was trained alike; None where there is none.

    Returns the values of `cell.json` that a training leaves: costs, alarms, and a note that names the cell.
    """
    for other, checkpoint in _lenders(spec, folder, runs):
        values = read_status(other).values
        save_checkpoint(folder, checkpoint.card, checkpoint.weights)
        for line in logged_values(other):
            curves = {name: value for name, value in line["values"].items() if name.startswith(CURVES)}
            if curves:
                log(line["step"], curves)
        trained = {f"cost/{PEAK}": values[PEAK]} if PEAK in values else {}
        return {
            "trained": trained | values["trained"],
            "alarms": values["alarms"],
            WEIGHTS_OF: _note(spec, other),
        }
    return None


def has_weights(spec: CellSpec, folder: Path, runs: Path) -> bool:
    """Return whether a cell would be scored without being trained: with its own weights or another cell's."""
    if read_status(folder).values.get(TRAINED) is not None:
        return True
    return any(True for _ in _lenders(spec, folder, runs))


def _lenders(spec: CellSpec, folder: Path, runs: Path) -> Iterator[tuple[Path, Checkpoint]]:
    """Yield the cells that were trained alike and whose weights can be read."""
    for other in _trained_alike(spec, folder, runs):
        try:
            checkpoint = load_checkpoint(other)
        except UserError:
            continue
        yield other, checkpoint


def _trained_alike(spec: CellSpec, folder: Path, runs: Path) -> Iterator[Path]:
    wanted = _training_of(json.loads(json.dumps(dataclasses.asdict(spec))))
    for other in all_cells(runs):
        status = read_status(other)
        left = status.values.get(TRAINED) is not None and "alarms" in status.values
        there = status.state == "finished" and left
        if there and other != folder and _training_of(status.values.get("spec", {})) == wanted:
            yield other


def _training_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a training and its alarms: method, settings, seed, data and the AU instrument."""
    data = spec.get("datasets", {})
    read = {"data": data.get(CROWD, data.get(TWIN)), "instrument": spec.get("instruments", {}).get("a")}
    return {name: spec.get(name) for name in DECIDES} | read


def _note(spec: CellSpec, other: Path) -> str:
    record = tracking.read_record(other)
    commit = (record.tags.get("commit", "") if record else "") or "unknown"
    return (
        f"{spec.name} was trained by the cell {other.name} (commit {commit[:12]}); this run scored its "
        "weights again"
    )
