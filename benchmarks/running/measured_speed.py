"""How fast a method trains here, as its finished cells or `eggan bench speed` have shown."""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.running.cells import TRAINED, WEIGHTS_OF, all_cells, read_status
from benchmarks.suites.presets import sized_preset
from eggan import tracking
from eggan.config import from_dict
from eggan.errors import UserError
from eggan.method import MethodEntry
from eggan.tracking.record import RECORD_FILE, RunRecord, logged_values, readable_record
from eggan.training import TrainingConfig

SPEED = "speed"  # the folder of all measurements, and their kind
DEVICE = "machine.device"
MACHINE = ("machine.system", "machine.accelerator", "machine.cores")


@dataclass(frozen=True)
class TrainingRate:
    """Images per second of a method's training steps, and what says so."""

    images_per_second: float
    source: str


def known_rate(
    runs: Path, entry: MethodEntry, config: Any, training: TrainingConfig, device: str
) -> TrainingRate | None:
    """Return how fast a method trains with such networks, batches and precision on this machine: the median
    of its finished cells, whatever they trained on, else what was measured; None where neither is known.
    """
    rates = {
        folder: rate for folder in all_cells(runs) if (rate := _cell_rate(folder, entry, config, training))
    }
    mine, _ = of_this_machine(rates, device)
    if mine:
        cells = f"finished {entry.name} cell{'s' if len(mine) > 1 else ''}"
        return TrainingRate(median(rates[folder] for folder in mine), f"{len(mine)} {cells}")
    return measured_rate(runs, entry, config, training, device)


def of_this_machine(folders: Iterable[Path], device: str) -> tuple[list[Path], int]:
    """Return those runs whose costs count here, of a machine and a device like this one, and how many do not.

    Results that were brought from another machine lie beside those of this one. A record that is missing or
    damaged says nothing.
    """
    found = list(folders)
    here = tracking.describe_machine(device) if found else {}
    mine = [folder for folder in found if _was_run_on(here, folder)]
    return mine, len(found) - len(mine)


def _cell_rate(folder: Path, entry: MethodEntry, config: Any, training: TrainingConfig) -> float | None:
    values = read_status(folder).values
    if WEIGHTS_OF in values:  # another cell's training, which may have run elsewhere
        return None
    spec, rate = values.get("spec", {}), (values.get(TRAINED) or {}).get("cost/images_per_second")
    own = spec.get("training", {})
    steps = own.get("autocast"), own.get("batch_size")
    if not rate or spec.get("method") != entry.name or steps != (training.autocast, training.batch_size):
        return None
    try:
        alike = _what_costs(from_dict(entry.config, spec.get("config", {}))) == _what_costs(config)
    except UserError:  # a config of another version
        return None
    return float(rate) if alike else None


def measured_rate(
    runs: Path, entry: MethodEntry, config: Any, training: TrainingConfig, device: str
) -> TrainingRate | None:
    """Return how fast a method trained with such networks when it was last measured on this device.

    None where it was not: no `eggan bench speed` in `runs` timed this method at this size, in such batches
    and precision, with a preset whose steps cost the same, on a machine like this one. A damaged measurement
    says nothing.
    """
    found = sorted(path.parent for path in (runs / SPEED).glob(f"*/{RECORD_FILE}"))
    here = tracking.describe_machine(device) if found else {}
    for folder in reversed(found):
        record = readable_record(folder)
        if record is None or not _is_measurement(record) or not _is_of_machine(record, here):
            continue
        rate = _logged_rate(folder, entry)
        if rate > 0 and _is_alike(record, entry, config, training):
            return TrainingRate(rate, f"bench speed of {_day(record)}")
    return None


def _logged_rate(folder: Path, entry: MethodEntry) -> float:
    """Return the images per second that a measurement has of a method; 0 where it has none."""
    try:
        lines = logged_values(folder)
    except UserError:
        return 0.0
    values = {name: value for line in lines for name, value in line["values"].items()}
    return float(values.get(f"{entry.name}/images_per_second", 0.0))


def _day(record: RunRecord) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started_ms / 1000))
    except (OverflowError, OSError, ValueError):  # no time that a clock shows
        return "an unknown day"


def _is_measurement(record: RunRecord) -> bool:
    return record.tags.get("kind") == SPEED and record.state == "finished"


def _was_run_on(machine: Mapping[str, str], folder: Path) -> bool:
    record = readable_record(folder)
    return record is not None and _is_of_machine(record, machine)


def _is_of_machine(record: RunRecord, here: Mapping[str, str]) -> bool:
    kinds = {tags.get(DEVICE, "").partition(":")[0] for tags in (record.tags, here)}  # one of several GPUs
    return len(kinds) == 1 and all(record.tags.get(name) == here.get(name) for name in MACHINE)


def _is_alike(record: RunRecord, entry: MethodEntry, config: Any, training: TrainingConfig) -> bool:
    """Return whether what was measured are steps of the same cost as a config's."""
    params = record.params
    try:
        measured = sized_preset(entry, params.get("preset", ""), int(params.get("image_size", 0)))
    except (UserError, ValueError):  # this version has no such preset; no size that a measurement has
        return False
    steps = params.get("precision"), params.get("batch_size")
    alike = steps == (training.autocast, str(training.batch_size))
    return alike and _what_costs(measured) == _what_costs(config)


def _what_costs(config: Any) -> dict[str, Any]:
    """Return what a step's cost follows from: of a weight whether it is 0, and nothing of the warm-up."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {
        name: value != 0 if isinstance(value, float) else value
        for name, value in values.items()
        if "warm" not in name and not name.endswith("_epochs")
    }
