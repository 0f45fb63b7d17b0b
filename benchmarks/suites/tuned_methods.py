"""EGGAN tuned: EGGAN with the loss weights that a study chose on validation people.

The study is kept under `reports/results/` with every trial; docs/study-results.md says how one was chosen.
The weights hold for the images and losses that the study saw, so only the presets that share them are tuned.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eggan.method import MethodEntry

NAME, TITLE = "eggan-tuned", "EGGAN tuned"
STUDY, TRIAL = "loss-weights-pareto", 27  # the knee of its Pareto front
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "weight_au": 95.33245891336395,
        "weight_id": 6.685464888888919,
        "weight_per": 20.53084768145605,
        "weight_rec": 167.91011163200443,
        "weight_gp": 6.091486123497058,
    }
)
PRESETS = ("cpu", "quick")  # 64 px, perceptual loss on C_id's features, as in the study


def tuned_of(entry: "MethodEntry") -> "MethodEntry":
    """Return `entry`, EGGAN's, with the study's weights in place of its presets' own."""
    presets = {name: replace(entry.presets[name], **WEIGHTS) for name in PRESETS}
    return replace(entry, name=NAME, title=TITLE, presets=presets)
