"""A verifier's threshold, fixed on real photographs before any edit is seen, and whether it is a verifier."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from eggan.data.dataset import TRAIN, Dataset
from eggan.errors import UserError
from eggan.evaluation.metrics import EqualError, equal_error
from eggan.evaluation.reading import Progress, in_batches
from eggan.files import announce_remaking, read_whole_json, write_json
from eggan.randomness import numpy_generator

LEAST_AUC = 0.75  # of telling pairs of one person from pairs of two; below it the weights embed no faces
# Unloaded weights give two unrelated pictures a cosine of 0.94 to 0.97, the released ones two people near 0.
MOST_ALIKE = 0.85
FOLDS = 5
FEWEST_PEOPLE = 4  # two folds of two: each has pairs of two people, and the other fixes its threshold
MOST_IMAGES = 2_000
MOST_PAIRS = 20_000
# What a stored threshold says:
ERRORS = ("cosine", "false_accept_rate", "false_reject_rate")
CHECKED = ("auc", "impostor_cosine")
COUNTS = ("people", "genuine_pairs", "impostor_pairs")
TOO_FEW_PHOTOGRAPHS = "a verifier's threshold needs training people with two photographs each"

Embed = Callable[[Tensor], Tensor]


def stored_threshold(
    path: Path, dataset: Dataset, embed: Embed, device: str, progress: Progress
) -> dict[str, float]:
    """Return the threshold stored at `path`; where there is none that can be used, fit and store it."""
    stored = read_whole_json(path)
    if _is_threshold(stored):
        return dict(stored)
    if path.exists():
        announce_remaking(path)
    fitted = fit_threshold(dataset, embed, device, progress)
    write_json(fitted, path)
    return fitted


def _is_threshold(stored: Any) -> bool:
    """Return whether a JSON value is what `fit_threshold` returns."""
    if not isinstance(stored, dict) or stored.keys() != {*ERRORS, *CHECKED, *COUNTS}:
        return False
    numbers = all(type(value) in (int, float) for value in stored.values())
    return numbers and math.isfinite(stored["cosine"])


def fit_threshold(dataset: Dataset, embed: Embed, device: str, progress: Progress) -> dict[str, float]:
    """Fix a verifier's threshold on real pairs of the training identities, before any edit is seen.

    `embed`: images (B, 3, H, W) in [-1, 1] -> unit vectors (B, D). Cross-fitted: identities are dealt into
    folds; each fold's error rates are those at the threshold that the other folds give. Returns cosine (the
    mean of these thresholds), false_accept_rate, false_reject_rate in [0, 1], auc, impostor_cosine (mean of
    pairs of two people) and the numbers of people and pairs. Embeddings that do not tell people apart are a
    `UserError`.
    """
    rows = _rows(dataset)
    owners = dataset.manifest["identity"].iloc[rows].astype(str).to_numpy()
    people = np.unique(owners)
    if len(people) < FEWEST_PEOPLE:
        raise UserError(
            f"{dataset.folder} has {len(people)} training people: a verifier's threshold needs "
            f"{FEWEST_PEOPLE} or more"
        )
    what = "fix the verifier's threshold"
    embedding = in_batches(embed, dataset.images[rows], device, progress, what)
    genuine, impostor = _pairs(owners)
    similarity = [np.einsum("nd,nd->n", embedding[p[:, 0]], embedding[p[:, 1]]) for p in (genuine, impostor)]
    checked = _check(similarity)
    fold = _folds(owners, people)
    if len(np.unique(fold[genuine[:, 0]])) < 2:
        raise UserError(TOO_FEW_PHOTOGRAPHS)
    folds = [_fold_errors(similarity, (fold[genuine[:, 0]], fold[impostor]), k) for k in np.unique(fold)]
    means = np.nanmean([[f.threshold, f.false_accept_rate, f.false_reject_rate] for f in folds], axis=0)
    counts = dict(zip(COUNTS, map(len, (people, genuine, impostor)), strict=True))
    return {**dict(zip(ERRORS, map(float, means), strict=True)), **checked, **counts}


def _rows(dataset: Dataset) -> np.ndarray:
    """Return the training rows; of a large dataset those of as many people as make 2,000 images."""
    rows = dataset.rows(TRAIN)
    owners = dataset.manifest["identity"].iloc[rows].astype(str).to_numpy()
    people, sizes = np.unique(owners, return_counts=True)
    order = numpy_generator("verification people").permutation(len(people))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), MOST_IMAGES)) + 1
    return rows[np.isin(owners, people[order[: max(enough, FEWEST_PEOPLE)]])]


def _pairs(owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return genuine and impostor pairs (n, 2) of positions, at most 20,000 of each, by a fixed seed."""
    first, second = np.triu_indices(len(owners), 1)
    alike = owners[first] == owners[second]
    if not alike.any():
        raise UserError(TOO_FEW_PHOTOGRAPHS)
    generator = numpy_generator("verification pairs")
    drawn = []
    for kind in (alike, ~alike):
        keep = np.sort(generator.permutation(np.flatnonzero(kind))[:MOST_PAIRS])
        drawn.append(np.stack([first[keep], second[keep]], axis=1))
    return drawn[0], drawn[1]


def _check(similarity: list[np.ndarray]) -> dict[str, float]:
    """Return AUC and mean impostor cosine; weights or crops that embed no faces are a `UserError`."""
    from sklearn.metrics import roc_auc_score  # for imported weights alone

    genuine, impostor = similarity
    labels = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    auc = float(roc_auc_score(labels, np.concatenate(similarity)))
    alike = float(impostor.mean())
    if not auc >= LEAST_AUC:
        raise UserError(
            f"these weights do not tell people apart (AUC {auc:.2f} on real pairs): is the file right?"
        )
    if alike > MOST_ALIKE:
        raise UserError(
            f"these weights find all people alike (mean cosine of two people {alike:.2f}): are they trained, "
            "and are the faces aligned?"
        )
    return dict(zip(CHECKED, (auc, alike), strict=True))


def _folds(owners: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Return the fold of each image, at least two people in each; all images of a person are in one."""
    order = numpy_generator("verification folds").permutation(len(people))
    return order[np.searchsorted(people, owners)] % min(FOLDS, len(people) // 2)


def _fold_errors(
    similarity: list[np.ndarray], folds: tuple[np.ndarray, np.ndarray], held_out: int
) -> EqualError:
    """Return the threshold that the other folds give and its error rates on this one; NaN without pairs."""
    genuine, impostor = similarity
    mine = folds[0] == held_out, (folds[1] == held_out).all(axis=1)
    others = folds[0] != held_out, (folds[1] != held_out).all(axis=1)
    threshold = equal_error(genuine[others[0]], impostor[others[1]]).threshold
    accepts = float((impostor[mine[1]] >= threshold).mean()) if mine[1].any() else float("nan")
    rejects = float((genuine[mine[0]] < threshold).mean()) if mine[0].any() else float("nan")
    return EqualError(threshold, (accepts + rejects) / 2, accepts, rejects)
