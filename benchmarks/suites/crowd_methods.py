"""Methods on SynFACS' crowd: the same code as on the twin, and EGGAN taught by the crowd's true edits."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggan.method import MethodEntry

ON_CROWD = ("eggan", "stargan", "homointerpgan", "ganimation")
PAIRS = "eggan-pairs"
WEIGHT_TRUE_EDIT = 100.0  # as the reconstruction's


def crowd_methods(entries: "Mapping[str, MethodEntry]") -> "dict[str, MethodEntry]":
    """Return the rows of the suite `crowd` by name, from the entries of `ON_CROWD`."""
    found = {}
    for name in ON_CROWD:
        entry = entries[name]
        found[f"{name}-crowd"] = replace(entry, name=f"{name}-crowd", title=f"{entry.title} (crowd)")
    eggan = entries["eggan"]
    found[PAIRS] = replace(
        eggan,
        name=PAIRS,
        title=f"{eggan.title} (true edits)",
        presets={
            name: replace(preset, weight_true_edit=WEIGHT_TRUE_EDIT) for name, preset in eggan.presets.items()
        },
        learns_from_true_edits=True,
    )
    return found
