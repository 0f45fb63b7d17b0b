"""Held-out figures of instruments: what goes into a card and what `eggan instruments check` repeats."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eggan.aus import AU_COLUMNS
from eggan.data.dataset import Dataset
from eggan.data.images import to_network_range
from eggan.evaluation import metrics
from eggan.evaluation.instrument_networks import read_aus

BATCH = 256


@torch.no_grad()
def outputs(read: Callable[[Tensor], Tensor], dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return what `read` makes of rows of a dataset at its own size: float32 (n, D)."""
    parts: list[Tensor] = []
    for start in range(0, len(rows), BATCH):
        images = to_network_range(dataset.tensor(rows[start : start + BATCH]))
        parts.append(read(images.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(parts).numpy()


def au_figures(network: nn.Module, dataset: Dataset, rows: np.ndarray) -> dict[str, Any]:
    """Return MSE, PCC, MAE and ICC(3,1) per AU and their means on rows of a dataset."""
    reading = outputs(partial(read_aus, network), dataset, rows)
    people = dataset.manifest["identity"].iloc[rows].to_numpy()
    return reading_figures(reading, dataset.aus(rows), people, dataset.size)


def reading_figures(reading: np.ndarray, truth: np.ndarray, people: np.ndarray, size: int) -> dict[str, Any]:
    """Return the figures of readings (n, 17) against the truth, of images of `people` (n,) at `size` px.

    An AU that is never read (NaN) has none.
    """
    values = {
        "mse": metrics.mse(truth, reading),
        "pcc": metrics.pcc(truth, reading),
        "mae": metrics.mae(truth, reading),
        "icc": metrics.icc31(truth, reading),
    }
    means = {name: metrics.mean_defined(value) for name, value in values.items()}
    return {
        "images": len(truth),
        "identities": len(np.unique(people)),
        "size": size,
        **{f"mean_{name}": _number(mean) for name, (mean, _) in means.items()},
        "pcc_defined": means["pcc"][1],
        "per_au": {
            column: {name: _number(value[i]) for name, value in values.items()}
            for i, column in enumerate(AU_COLUMNS)
        },
    }


def similarities(embedding: np.ndarray, identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines of all pairs of two images of one person and of two persons (unit-norm rows)."""
    cosine = embedding @ embedding.T
    first, second = np.triu_indices(len(embedding), k=1)
    same = identity[first] == identity[second]
    values = cosine[first, second]
    return values[same], values[~same]


def pair_similarities(
    network: nn.Module, dataset: Dataset, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return genuine and impostor cosines over all pairs of rows: across expressions and gazes."""
    identity = dataset.manifest["identity"].iloc[rows].to_numpy()
    return similarities(outputs(network, dataset, rows), identity)


def verifier_figures(
    network: nn.Module, dataset: Dataset, rows: np.ndarray, threshold: float
) -> dict[str, Any]:
    """Return the equal-error rate and, at the threshold, accuracy and false accepts, on pairs of rows."""
    genuine, impostor = pair_similarities(network, dataset, rows)
    equal = metrics.equal_error(genuine, impostor)
    return {
        "images": len(rows),
        "identities": int(dataset.manifest["identity"].iloc[rows].nunique()),
        "size": dataset.size,
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
        "equal_error_percent": _number(100 * equal.rate),
        "accuracy_percent": _number(metrics.verification_accuracy(genuine, threshold)),
        "false_accept_percent": _number(metrics.false_accept_rate(impostor, threshold)),
        "mean_similarity": _number(genuine.mean()),
        "similarity_p05": _number(np.quantile(genuine, 0.05)),
    }


def fix_threshold(network: nn.Module, dataset: Dataset, rows: np.ndarray) -> dict[str, Any]:
    """Return the equal-error threshold on pairs of rows, with its rates in [0, 1]."""
    genuine, impostor = pair_similarities(network, dataset, rows)
    equal = metrics.equal_error(genuine, impostor)
    return {
        "cosine": round(equal.threshold, 6),
        "equal_error_rate": _number(equal.rate),
        "false_accept_rate": _number(equal.false_accept_rate),
        "false_reject_rate": _number(equal.false_reject_rate),
        "identities": int(dataset.manifest["identity"].iloc[rows].nunique()),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostor),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
