"""Which frozen scorers a benchmark uses: the shipped ones on SynFACS, the paper's on photographs.

On photographs OpenFace reads AUs (Table 1) and LightCNN tells people apart (Table 2), as in the paper. The
shipped instruments learnt from renderings; they score photographs only when asked to, and every table then
says so. Nothing is replaced in silence.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from baselines import lightcnn
from benchmarks.scores import AUEstimator, Instruments, Verifier, images_of
from eggan.data.dataset import Dataset, hash_files
from eggan.errors import UserError
from eggan.evaluation.metrics import EqualError, equal_error
from eggan.randomness import numpy_generator

AUTO, SHIPPED, OPENFACE = "auto", "synfacs", "openface"
LIGHTCNN = "lightcnn:"
LEAST_AUC = 0.75  # of telling pairs of one person from pairs of two; below it the weights embed no faces
FOLDS = 5
MOST_PAIRS = 20_000
BATCH = 64


@dataclass(frozen=True)
class Choice:
    """What the user asked for. `verifier` is auto, synfacs, or lightcnn:FOLDER of `eggan import lightcnn`."""

    au: str = AUTO
    verifier: str = AUTO
    openface: Path | None = None
    openface_version: str | None = None

    def __post_init__(self) -> None:
        if self.au not in (AUTO, SHIPPED, OPENFACE):
            raise UserError(f"unknown AU instrument {self.au!r} (known: {AUTO}, {SHIPPED}, {OPENFACE})")
        if self.verifier not in (AUTO, SHIPPED) and not self.verifier.startswith(LIGHTCNN):
            raise UserError(
                f"unknown verifier {self.verifier!r} (known: {AUTO}, {SHIPPED}, {LIGHTCNN}FOLDER)"
            )


def is_synfacs(dataset: Dataset | None) -> bool:
    """Return whether a dataset is rendered; None stands for a suite's own SynFACS."""
    return dataset is None or dataset.name.startswith("synfacs")


def choose_instruments(
    choice: Choice, dataset: Dataset | None, device: str, cache: Path, shipped: Callable[[str], Instruments]
) -> Instruments:
    """Return the scorers for a dataset; one that is asked for and missing is a `UserError`.

    "auto" is the shipped scorer on SynFACS, else OpenFace or, for the verifier, a `UserError` that says how
    to get LightCNN. Beside OpenFace there is no second estimator on photographs.
    """
    chosen = shipped(device)
    rendered = is_synfacs(dataset)
    if choice.au == OPENFACE or (choice.au == AUTO and not rendered):
        second = chosen.a if rendered else None
        chosen = replace(chosen, a=_openface(choice, cache), b=second)
    if choice.verifier.startswith(LIGHTCNN):
        chosen = replace(chosen, verifier=_lightcnn(choice, dataset, device, cache))
    elif choice.verifier == AUTO and not rendered:
        raise UserError(
            "photographs are verified by LightCNN: import it (`eggan import lightcnn FILE -o FOLDER`) and "
            f"pass --verifier {LIGHTCNN}FOLDER, or pass --verifier {SHIPPED} (learnt from renderings)"
        )
    return chosen


def _openface(choice: Choice, cache: Path) -> AUEstimator:
    from eggan.data.labels.openface_run import find_openface
    from eggan.evaluation.openface_instrument import OpenFaceEstimator

    found = find_openface(choice.openface, choice.openface_version)
    if found is None:
        raise UserError(
            "AUs of photographs are read by OpenFace, which is not on PATH: pass --openface with its bin "
            f"folder, or --au-instrument {SHIPPED} (learnt from renderings)"
        )
    return OpenFaceEstimator(found, cache)


@dataclass(frozen=True)
class LightCNNVerifier:
    """LightCNN with a threshold fixed on real pairs of training identities; `card` says how well it does."""

    name: str
    sha256: str
    card: dict[str, Any]
    network: nn.Module

    @property
    def threshold(self) -> float:
        """Cosine at the equal-error point, the mean over folds."""
        return float(self.card["threshold"]["cosine"])

    def embed(self, images: Tensor) -> Tensor:
        """Return unit-norm embeddings (B, 256) of images (B, 3, H, W) in [-1, 1]."""
        return lightcnn.embed(self.network, images)


def _lightcnn(choice: Choice, dataset: Dataset | None, device: str, cache: Path) -> Verifier:
    folder = Path(choice.verifier.removeprefix(LIGHTCNN))
    if dataset is None:
        raise UserError(
            f"--verifier {LIGHTCNN}FOLDER needs --dataset: its threshold is fixed on training people"
        )
    network = lightcnn.load_lightcnn(folder, device)
    sha256 = hash_files([folder / "weights.safetensors"])
    path = cache / f"threshold-{sha256[:16]}-{dataset.content_hash[:16]}.json"
    if not path.exists():
        _store(path, fit_threshold(dataset, lambda images: lightcnn.embed(network, images), device))
    card = {"title": "LightCNN", "threshold": json.loads(path.read_text())}
    return LightCNNVerifier("lightcnn", sha256, card, network)


def fit_threshold(dataset: Dataset, embed: Callable[[Tensor], Tensor], device: str) -> dict[str, float]:
    """Fix a verifier's threshold on real pairs of the training identities, before any edit is seen.

    Cross-fitted: identities are dealt into folds; each fold's error rates are those at the threshold that the
    other folds give. Returns cosine (the mean of these thresholds), false_accept_rate, false_reject_rate in
    [0, 1], auc and the numbers of pairs. Embeddings that do not tell people apart are a `UserError`.
    """
    rows = dataset.rows("train")
    owners = dataset.manifest["identity"].iloc[rows].astype(str).to_numpy()
    embedding = _embeddings(dataset, rows, embed, device)
    genuine, impostor = _pairs(owners)
    similarity = [np.einsum("nd,nd->n", embedding[p[:, 0]], embedding[p[:, 1]]) for p in (genuine, impostor)]
    auc = _auc(*similarity)
    if auc < LEAST_AUC:
        raise UserError(
            f"these weights do not tell people apart (AUC {auc:.2f} on real pairs): is the file right?"
        )
    fold = _folds(owners)
    folds = [_fold_errors(similarity, (fold[genuine[:, 0]], fold[impostor]), k) for k in range(FOLDS)]
    means = np.nanmean([[f.threshold, f.false_accept_rate, f.false_reject_rate] for f in folds if f], axis=0)
    counts = {"genuine_pairs": float(len(genuine)), "impostor_pairs": float(len(impostor))}
    names = ("cosine", "false_accept_rate", "false_reject_rate")
    return {**dict(zip(names, map(float, means), strict=True)), "auc": auc, **counts}


def _embeddings(
    dataset: Dataset, rows: np.ndarray, embed: Callable[[Tensor], Tensor], device: str
) -> np.ndarray:
    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with torch.no_grad():
        return np.concatenate(
            [embed(images_of(dataset.images[part], device)).cpu().numpy() for part in parts]
        )


def _pairs(owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return genuine and impostor pairs (n, 2) of positions, at most 20,000 of each, by a fixed seed."""
    first, second = np.triu_indices(len(owners), 1)
    alike = owners[first] == owners[second]
    generator = numpy_generator("verification pairs")
    drawn = []
    for kind in (alike, ~alike):
        found = np.flatnonzero(kind)
        if not len(found):
            raise UserError("a threshold needs at least two training people with two photographs each")
        keep = np.sort(generator.permutation(found)[:MOST_PAIRS])
        drawn.append(np.stack([first[keep], second[keep]], axis=1))
    return drawn[0], drawn[1]


def _auc(genuine: np.ndarray, impostor: np.ndarray) -> float:
    labels = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    return float(roc_auc_score(labels, np.concatenate([genuine, impostor])))


def _folds(owners: np.ndarray) -> np.ndarray:
    """Return the fold of each image; all images of a person are in one."""
    people = np.unique(owners)
    order = numpy_generator("verification folds").permutation(len(people))
    return np.array([order[np.searchsorted(people, owner)] % FOLDS for owner in owners])


def _fold_errors(
    similarity: list[np.ndarray], folds: tuple[np.ndarray, np.ndarray], held_out: int
) -> EqualError | None:
    """Return threshold of the other folds and its error rates on this one; None for a fold without pairs."""
    genuine, impostor = similarity
    mine = folds[0] == held_out, (folds[1] == held_out).all(axis=1)
    others = folds[0] != held_out, (folds[1] != held_out).all(axis=1)
    if not others[0].any() or not others[1].any():
        return None
    threshold = equal_error(genuine[others[0]], impostor[others[1]]).threshold
    accepts = float((impostor[mine[1]] >= threshold).mean()) if mine[1].any() else float("nan")
    rejects = float((genuine[mine[0]] < threshold).mean()) if mine[0].any() else float("nan")
    return EqualError(threshold, (accepts + rejects) / 2, accepts, rejects)


def _store(path: Path, values: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{os.getpid()}.{path.name}")
    staging.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    os.replace(staging, path)
