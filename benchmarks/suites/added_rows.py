"""Rows that a user adds to a suite: `eggan bench run SUITE --add METHOD[:PRESET]`.

An added row trains on as many images as the suite's own rows, at the suite's image size and with its seeds,
and is scored on the same pairs by the same instruments. The suite's own cells keep their keys.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.references import Reference
from benchmarks.suites.methods import find_method
from benchmarks.suites.shipped_methods import ShippedMethod
from benchmarks.suites.suite import CROWD, Row, Suite
from eggan.config import to_dict
from eggan.errors import UserError, known_names
from eggan.method import MethodEntry

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry


def with_added_rows(
    suite: Suite, added: Sequence[str], methods: "Mapping[str, Entry]", dataset: Path | None = None
) -> Suite:
    """Return `suite` with a row for each of `added`, such as `mymethod` or `mymethod:cpu`.

    A method that is unknown, learns nothing, is in the suite already or needs true edits that the suite has
    not, and a preset that is unknown or of another image size are a `UserError`. A `dataset` that takes the
    place of the suite's own is not looked into.
    """
    rows = list(suite.rows)
    for text in added:
        name, _, preset = text.partition(":")
        entry = find_method(name, methods)
        if isinstance(entry, Reference):
            raise UserError(f"--add {text}: {name} is a reference, which every suite has already")
        if any(row.name == entry.name for row in rows):
            raise UserError(f"--add {text}: {entry.name} is in the suite {suite.name} already")
        if not isinstance(entry, ShippedMethod):
            row = _row(suite, entry, preset, text)
            if entry.learns_from_true_edits and row.learns_from != CROWD and dataset is None:
                raise UserError(
                    f"--add {text}: {entry.name} learns from true edits, which the {row.learns_from} that "
                    f"the suite {suite.name} learns from does not hold: choose a suite that learns from the "
                    "crowd"
                )
            rows.append(row)
        elif preset:
            raise UserError(f"--add {text}: shipped weights have no presets: add {entry.name}")
        else:
            rows.append(Row(entry.for_size(suite.image_size).name))
    return dataclasses.replace(suite, rows=tuple(rows))


def _row(suite: Suite, entry: MethodEntry, preset: str, text: str) -> Row:
    trained = [row for row in suite.rows if row.training is not None]
    chosen = preset or _default_preset(suite, entry, trained, text)
    if chosen not in entry.presets:
        known = known_names(chosen, entry.presets)
        raise UserError(f"--add {text}: {entry.name} has no preset {chosen!r}{known}")
    if not _fits(suite, entry, chosen):
        raise UserError(
            f"--add {text}: the preset {chosen!r} is for {_image_size(entry, chosen)} px, "
            f"the suite {suite.name} has {suite.image_size} px"
        )
    minutes = max(row.expected_minutes for row in trained)
    training, source = trained[0].training, trained[0].learns_from
    labelled = source == CROWD and entry.learns_from_labels
    return Row(entry.name, chosen, training, minutes, learns_from=source, labelled=labelled)


def _default_preset(suite: Suite, entry: MethodEntry, trained: Sequence[Row], text: str) -> str:
    """Return the preset of the suite's rows, the one of its name, or the only one of its image size."""
    fitting = [name for name in entry.presets if _fits(suite, entry, name)]
    for own in (*(row.preset for row in trained), suite.name):
        if own in fitting:
            return own
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(entry.presets)
    raise UserError(
        f"--add {text}: say which preset of {entry.name} to train at {suite.image_size} px, "
        f"--add {entry.name}:PRESET (known: {known})"
    )


def _fits(suite: Suite, entry: MethodEntry, preset: str) -> bool:
    """Return whether a preset is for the suite's image size; one that names no size is for any."""
    return _image_size(entry, preset) in (None, suite.image_size)


def _image_size(entry: MethodEntry, preset: str) -> int | None:
    return to_dict(entry.presets[preset]).get("image_size")
