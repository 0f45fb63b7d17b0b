"""EGGAN taught by the true edits of SynFACS' crowd beside Eq. 7: what pairs give the paper's method."""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggan.method import MethodEntry

PAIRS = "eggan-pairs"
WEIGHT_TRUE_EDIT = 100.0  # as the reconstruction's


def with_pairs(entry: "MethodEntry") -> "MethodEntry":
    """Return `entry`, EGGAN's, with the loss on true edits in every preset."""
    return replace(
        entry,
        name=PAIRS,
        title=f"{entry.title} (true edits)",
        presets={
            name: replace(preset, weight_true_edit=WEIGHT_TRUE_EDIT) for name, preset in entry.presets.items()
        },
        learns_from_true_edits=True,
    )
