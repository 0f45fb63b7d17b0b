"""Another number of training images than a suite's own, for all of its methods alike."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.suites.methods import find_method
from benchmarks.suites.presets import preset_config
from benchmarks.suites.suite import Row, Suite
from eggan.errors import UserError
from eggan.method import MethodEntry
from eggan.training import TrainingConfig

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry

WARM_STEPS = ("rec_warm_steps", "warm_steps")  # fields of configs: EGGAN's, and that of the baselines


def with_images(suite: Suite, images: int) -> Suite:
    """Return `suite` with every method trained on `images` images, and with times in proportion."""
    rows = tuple(row if row.training is None else _on_images(row, images) for row in suite.rows)
    return dataclasses.replace(suite, rows=rows, budget=f"{images:,} images per method, as was asked for")


def check_warm_starts(rows: Iterable[Row], methods: "Mapping[str, Entry]") -> None:
    """Raise a `UserError` where the warm start of a row's method leaves none of its images to learn from."""
    for row in rows:
        entry = find_method(row.method, methods)
        if row.training is None or not row.training.images or not isinstance(entry, MethodEntry):
            continue
        check_warm_start(row.name, row.preset, preset_config(entry, row), row.training)


def check_warm_start(name: str, preset: str | None, config: Any, training: TrainingConfig) -> None:
    """Raise a `UserError` where a method's warm start leaves none of its training's images to learn from."""
    warm = warm_images(config, training)
    if warm >= training.images:
        raise UserError(
            f"{training.images:,} images are too few for {name}: in its preset {preset!r} "
            f"the first {warm:,} teach it to rebuild faces, not to edit them"
        )


def warm_images(config: Any, training: TrainingConfig) -> int:
    """Return the images of a method's warm start, in which it learns to rebuild faces: no edit is judged."""
    name = warm_steps_field(config)
    return int(getattr(config, name)) * training.batch_size if name else 0


def warm_steps_field(config: Any) -> str:
    """Return which field of a method's config holds the steps of its warm start; empty where none does."""
    return next((name for name in WARM_STEPS if hasattr(config, name)), "")


def _on_images(row: Row, images: int) -> Row:
    assert row.training is not None
    share = images / row.training.images if row.training.images else 1.0
    training = dataclasses.replace(row.training, images=images)
    return dataclasses.replace(row, training=training, expected_minutes=row.expected_minutes * share)
