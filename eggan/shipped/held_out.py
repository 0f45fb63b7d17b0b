"""What weights reach on validation people of SynFACS' crowd: the figures of the cards of shipped weights.

The source is the calmest picture of each person's first group, the targets are the group's other pictures,
which are its true edits. These people are in no training, no instrument and no test; they select.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eggan import losses
from eggan.aus import AU_NUMBERS
from eggan.data.dataset import Dataset
from eggan.data.images import to_network_range, to_uint8
from eggan.errors import UserError
from eggan.evaluation import metrics, pixels
from eggan.evaluation.instruments import Which, load_au_estimator, load_verifier
from eggan.method import EditRequest, Method

SPLIT = "val"
BATCH = 64
CHANGE_FULL, CHANGE_FLOOR = 0.3, 0.003  # of `changed_l1`: fixed here, whatever a training weighs
LARGEST_PSNR = 60.0  # dB: an edit that equals its truth must not make the mean infinite
Edit = Callable[[Tensor, Tensor], Tensor]  # sources (B, 3, S, S) in [-1, 1], target AUs (B, 17) -> edits


@dataclass(frozen=True)
class Pairs:
    """N sources and their true edits: images (N, 3, S, S) in [-1, 1], AUs float32 (N, 17)."""

    source: Tensor
    truth: Tensor
    source_aus: np.ndarray
    target_aus: np.ndarray
    people: int


def validation_pairs(dataset: Dataset) -> Pairs:
    """Return the pairs of a dataset's validation people; one without groups is a `UserError`."""
    rows = dataset.rows(SPLIT)
    groups = dataset.groups(rows)
    if groups is None or not len(rows):
        raise UserError(f"{dataset.folder} holds no validation people with true edits: build a crowd")
    identity = dataset.manifest["identity"].to_numpy(dtype=str)[rows]
    sources, targets = [], []
    for person in np.unique(identity):
        own = np.flatnonzero(identity == person)
        members = rows[own[groups[own] == groups[own[0]]]]
        aus = dataset.aus(members)
        calmest = int((aus > 0).sum(1).argmin())
        others = members[(aus != aus[calmest]).any(1)]
        sources += [members[calmest]] * len(others)
        targets += others.tolist()
    source, target = np.array(sources), np.array(targets)
    pictures, truths = (to_network_range(dataset.tensor(chosen)) for chosen in (source, target))
    return Pairs(pictures, truths, dataset.aus(source), dataset.aus(target), len(np.unique(identity)))


def editing(method: Method) -> Edit:
    """Return how a method edits pictures of its own size."""

    def edit(source: Tensor, target_aus: Tensor) -> Tensor:
        unread = torch.full((len(source),), -1, dtype=torch.int64)
        return method.edit(EditRequest(source, target_aus, target_aus, unread, source))

    return edit


@torch.no_grad()
def held_out_figures(edit: Edit, pairs: Pairs) -> dict[str, Any]:
    """Return a card's figures of the edits, rounded to grey levels as a picture file holds them."""
    target = torch.from_numpy(pairs.target_aus)
    edits = torch.cat(
        [
            to_network_range(to_uint8(edit(pairs.source[at : at + BATCH], target[at : at + BATCH])))
            for at in range(0, len(target), BATCH)
        ]
    )
    return {
        "split": "validation people of crowd: in no training, no instrument, no test",
        "source": "the calmest picture of a person's first group: fewest AUs",
        "target": "every other picture of the group with other AUs",
        "people": pairs.people,
        "pairs": len(target),
        "size": int(edits.shape[-1]),
        "estimator_a": _au_figures("a", edits, pairs),
        "estimator_b": _au_figures("b", edits, pairs),
        **_identity_figures(edits, pairs),
        **_pixel_figures(edits, pairs),
    }


def _au_figures(name: Which, edits: Tensor, pairs: Pairs) -> dict[str, Any]:
    """Return MSE, PCC and slope (how far readings go of the way from source to target) of one estimator."""
    estimator = load_au_estimator(name)
    before, after, truth = (
        estimator.predict(images).double().numpy() for images in (pairs.source, edits, pairs.truth)
    )
    asked = pairs.target_aus.astype(np.float64)
    way = asked - pairs.source_aus

    def figures(reading: np.ndarray) -> dict[str, Any]:
        slope = float(((reading - before) * way).sum() / np.square(way).sum())
        pcc, _ = metrics.mean_defined(metrics.pcc(asked, reading))
        return {"mse": _round(metrics.mse(asked, reading).mean()), "pcc": _round(pcc), "slope": _round(slope)}

    mse, pcc = metrics.mse(asked, after), metrics.pcc(asked, after)
    per_au = {f"au{n}": {"mse": _round(mse[i]), "pcc": _round(pcc[i])} for i, n in enumerate(AU_NUMBERS)}
    return {
        "copy_source": figures(before),
        "edit": {**figures(after), "per_au": per_au},
        "rendered_truth": figures(truth),
    }


def _identity_figures(edits: Tensor, pairs: Pairs) -> dict[str, float]:
    verifier = load_verifier()
    similarity = (verifier.embed(pairs.source) * verifier.embed(edits)).sum(1)
    same = float((similarity >= verifier.threshold).double().mean())
    return {"same_person_percent": _round(100 * same, 2), "similarity": _round(similarity.mean(), 3)}


def _pixel_figures(edits: Tensor, pairs: Pairs) -> dict[str, float]:
    """Return PSNR (dB), and L1 (images in [-1, 1]) where the truth differs from its source and elsewhere."""
    weight = losses.change_weight(pairs.source, pairs.truth, CHANGE_FULL)
    still = (pairs.source == pairs.truth).all(1, keepdim=True)
    moved = ((edits - pairs.source).abs() * still).sum() / (3 * still.sum())
    return {
        "psnr": _round(pixels.psnr(edits, pairs.truth).clamp(max=LARGEST_PSNR).mean(), 2),
        "changed_l1": _round(losses.weighted_l1(edits, pairs.truth, weight, CHANGE_FLOOR)),
        "changed_l1_copy_source": _round(losses.weighted_l1(pairs.source, pairs.truth, weight, CHANGE_FLOOR)),
        "still_l1": _round(moved, 5),
    }


def _round(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)
