"""The settings of one training: a preset of the method and its budget, then a file, then assignments."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.references import Reference
from benchmarks.suites.methods import all_methods, find_method
from benchmarks.suites.suite import BUDGETS, Row
from eggan.config import from_dict, override, read_toml, to_dict
from eggan.errors import UserError, known_names
from eggan.method import MethodEntry
from eggan.training import TrainingConfig

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry


def preset_config(entry: MethodEntry, row: Row) -> Any:
    """Return the method's config that a suite row names; an unknown preset is a `UserError`."""
    return _preset(entry, row.preset)


def sized_preset(entry: MethodEntry, preset: str, image_size: int) -> Any:
    """Return the method's preset at an image size; an unknown one, or one not for it, is a `UserError`."""
    try:
        return dataclasses.replace(_preset(entry, preset), image_size=image_size)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"the preset {preset!r} of {entry.name} is not for {image_size} px: {error}"
        ) from None


def _preset(entry: MethodEntry, preset: str | None) -> Any:
    if preset is None or preset not in entry.presets:
        raise UserError(f"{entry.name} has no preset {preset!r}{known_names(preset or '', entry.presets)}")
    return entry.presets[preset]


def trainable(name: str, methods: "Mapping[str, Entry] | None" = None) -> MethodEntry:
    """Return the entry of a method that learns, of `methods` or all that are installed.

    An unknown one or a reference is a `UserError`.
    """
    methods = all_methods() if methods is None else methods
    entry = find_method(name, methods)
    if not isinstance(entry, MethodEntry):
        learning = ", ".join(name for name, entry in methods.items() if isinstance(entry, MethodEntry))
        what = "a reference and learns nothing" if isinstance(entry, Reference) else "trained already"
        raise UserError(f"{name} is {what}; methods that can be trained: {learning}")
    return entry


def training_of(preset: str) -> TrainingConfig:
    """Return the training budget of a preset; the paper's where no suite knows it."""
    return BUDGETS.get(preset, TrainingConfig())


def resolve(entry: MethodEntry, preset: str, path: Path | None, assignments: Sequence[str]) -> Any:
    """Return a config with the fields `method` and `training`: preset, then file, then assignments.

    An assignment without a group, such as `weight_au=50`, is one of the method's.
    """
    given = _preset(entry, preset)
    kind = dataclasses.make_dataclass(
        "RunConfig", [("method", entry.config), ("training", TrainingConfig)], frozen=True
    )
    config = kind(given, training_of(preset))
    if path is not None:
        config = from_dict(kind, _merged(to_dict(config), read_toml(path)), where=path.name)
    groups = ("method.", "training.")
    return override(config, [text if text.startswith(groups) else f"method.{text}" for text in assignments])


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {name: base[name] | changes[name] for name in base if isinstance(changes.get(name), dict)}
    return base | changes | both
