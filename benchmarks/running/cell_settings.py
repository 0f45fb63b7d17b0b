"""Which of several cells of one name is the suite's as it is now, and what the others were made with.

What a cell's data and instruments are now, only a run of its suite knows: of cells that differ in them alone,
the last one stands for the suite.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.references import Reference
from benchmarks.running.cells import CellStatus
from benchmarks.suites.former_names import FORMER_SUITES, TWIN_SUITE, is_of_twin, present_method
from benchmarks.suites.methods import all_methods, find_method
from benchmarks.suites.presets import preset_config
from benchmarks.suites.shipped_methods import ShippedMethod
from benchmarks.suites.suite import SUITES, Row, Suite
from eggan.config import to_dict
from eggan.errors import UserError
from eggan.tracking.record import flat_params, readable_record

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry

PRESENT = "the suite's own"
MOST_CHANGES = 2  # that are listed of one cell
BESIDE = {"datasets": "data", "instruments": "instruments"}  # of a cell's key, beside its settings
SETTINGS = {  # of a cell's key: what decides a training and its scoring, and what it is called
    "method_version": "method version",
    "config": "method",
    "training": "training",
    "protocol": "protocol",
}
NEEDED = {"suite", "method", "datasets", *SETTINGS}  # of a specification that is whole
UNSET = "unset"


def notes_on_settings(statuses: Iterable[CellStatus], runs: Path) -> dict[str, str]:
    """Return by key what the settings of cells below `runs` are to their suites."""
    methods, notes = all_methods(), dict[str, str]()
    last: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    for status in sorted(statuses, key=lambda status: _started(runs / "cells" / status.key)):
        spec: Mapping[str, Any] = status.values.get("spec", {})
        notes[status.key] = _note(spec, methods) if spec.keys() >= NEEDED else ""
        if notes[status.key] == PRESENT:
            name = (spec["suite"], status.values.get("name", ""))
            if name in last:
                key, earlier = last[name]
                notes[key] = _other_than(earlier, spec)
            last[name] = (status.key, spec)
    return notes


def _started(cell: Path) -> int:
    """Return when a cell's run began, in milliseconds; 0 where that is not known."""
    record = readable_record(cell)
    return record.started_ms if record else 0


def _note(spec: Mapping[str, Any], methods: "Mapping[str, Entry]") -> str:
    """Return what a cell's settings are to its suite as that is now."""
    suite = _suite_of(spec)
    if suite is None:
        return "former: there is no such suite now"
    name = spec["method"]
    row = next((row for row in suite.rows if row.name == name), None)
    if row is None and present_method(name) != name:
        return f"former: the row is called {present_method(name)} now"
    try:
        entry = find_method(row.method if row else name, methods)
    except UserError:
        return "former: the suite has no such row now"
    found = _settings(spec)
    changes = min((_changes(found, now) for now in _now(suite, row, entry)), key=len)
    if not changes:
        return PRESENT if suite.name == spec["suite"] else f"of the suite {suite.name} now"
    if list(changes) == ["training.images"] and all(map(str.isdecimal, changes["training.images"])):
        own, now = (f"{int(number):,}" for number in changes["training.images"])
        return f"{own} images, the suite has {now}"
    listed = [f"{name} {own}, now {now}" for name, (own, now) in changes.items()][:MOST_CHANGES]
    more = f"; {len(changes) - len(listed)} more" if len(changes) > len(listed) else ""
    return f"former: {'; '.join(listed)}{more}"


def _suite_of(spec: Mapping[str, Any]) -> Suite | None:
    name = spec["suite"]
    if is_of_twin(name, spec["method"], bool(spec["training"]), spec["datasets"]):
        name = TWIN_SUITE
    return SUITES.get(FORMER_SUITES.get(name, name))


def _now(suite: Suite, row: Row | None, entry: "Entry") -> Iterator[dict[str, str]]:
    """Yield the settings that a cell may have now; of a row that a user has added, those of each preset."""
    shared = {"protocol": to_dict(suite.protocol), "method_version": entry.version}
    if isinstance(entry, Reference):
        yield _settings({**shared, "config": {}, "training": {}})
    elif isinstance(entry, ShippedMethod):
        yield _settings({**shared, "config": entry.for_size(suite.image_size).identity, "training": {}})
    else:
        presets = entry.presets.values() if row is None else [preset_config(entry, row)]
        budget = next(own.training for own in (row, *suite.rows) if own is not None and own.training)
        for preset in presets:
            yield _settings({**shared, "config": to_dict(preset), "training": to_dict(budget)})


def _settings(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings in a cell's specification, by dotted name."""
    named = {name: spec[key] for key, name in SETTINGS.items()}
    return flat_params(named)


def _changes(found: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the settings that differ, versions first: (what a cell has, what its suite has)."""
    names = sorted({*found, *now}, key=lambda name: ("version" not in name, name))
    pairs = {name: (found.get(name, UNSET), now.get(name, UNSET)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _other_than(spec: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Return what an earlier cell of the suite's present settings differs in from the last one."""
    others = [what for field, what in BESIDE.items() if spec.get(field) != last.get(field)]
    return f"earlier: on other {' and '.join(others or ['pairs'])}"
