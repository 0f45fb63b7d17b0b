"""What `eggan bench speed` measured here: how fast a method trains, before a cell of it has shown that."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suites.presets import sized_preset
from eggan import tracking
from eggan.errors import UserError
from eggan.method import MethodEntry
from eggan.tracking.record import RECORD_FILE, RunRecord, logged_values, read_record

SPEED = "speed"  # the folder of all measurements, and their kind
MACHINE = ("machine.system", "machine.device", "machine.accelerator", "machine.cores")


@dataclass(frozen=True)
class TrainingRate:
    """Images per second of a method's training steps, and which measurement says so."""

    images_per_second: float
    source: str


def measured_rate(
    runs: Path, entry: MethodEntry, config: Any, precision: str, device: str
) -> TrainingRate | None:
    """Return how fast a method trained with such networks when it was last measured on this device.

    None where it was not: no `eggan bench speed` in `runs` timed this method at this size and precision, with
    a preset whose steps cost the same, on a machine like this one.
    """
    found = sorted(path.parent for path in (runs / SPEED).glob(f"*/{RECORD_FILE}"))
    here = tracking.describe_machine(device) if found else {}
    for folder in reversed(found):
        record = read_record(folder)
        if record is None or not _is_from_here(record, here):
            continue
        values = {name: value for line in logged_values(folder) for name, value in line["values"].items()}
        rate = values.get(f"{entry.name}/images_per_second", 0.0)
        if rate > 0 and _is_alike(record, entry, config, precision):
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started_ms / 1000))
            return TrainingRate(float(rate), f"bench speed of {day}")
    return None


def _is_from_here(record: RunRecord, here: dict[str, str]) -> bool:
    same_machine = all(record.tags.get(name) == here.get(name) for name in MACHINE)
    return same_machine and record.tags.get("kind") == SPEED and record.state == "finished"


def _is_alike(record: RunRecord, entry: MethodEntry, config: Any, precision: str) -> bool:
    """Return whether what was measured are steps of the same cost as a config's."""
    params = record.params
    try:
        measured = sized_preset(entry, params.get("preset", ""), int(params.get("image_size", 0)))
    except UserError:  # this version has no such preset
        return False
    return params.get("precision") == precision and _what_costs(measured) == _what_costs(config)


def _what_costs(config: Any) -> dict[str, Any]:
    """Return what a step's cost follows from: of a weight whether it is 0, and nothing of the warm-up."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {
        name: value != 0 if isinstance(value, float) else value
        for name, value in values.items()
        if "warm" not in name and not name.endswith("_epochs")
    }
