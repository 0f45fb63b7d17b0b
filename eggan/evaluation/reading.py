"""Frozen instruments read pictures: uint8 arrays go in, in batches, and readings come out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from eggan.data.images import to_network_range
from eggan.progress import progress_bar

BATCH = 64

Progress = Callable[..., Iterable[Any]]


class AUEstimator(Protocol):
    """Reads AUs: images (B, 3, H, W) in [-1, 1] to intensities (B, 17) in [0, 5]."""

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    def predict(self, images: Tensor) -> Tensor:
        """Return the AU intensities of a batch."""
        ...


class Verifier(Protocol):
    """Embeds faces: images (B, 3, H, W) in [-1, 1] to unit vectors (B, D); same person at cosine >=
    threshold.
    """

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def threshold(self) -> float:
        """Cosine fixed beforehand on real pairs."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        ...


@dataclass(frozen=True)
class Instruments:
    """The frozen scorers of a benchmark. `b` is the second AU estimator, None where there is none.

    `landmarks` is a third opinion on AUs, from geometry alone, None where there is none. It decides nothing:
    cells that were scored without it stay what they are.
    """

    a: AUEstimator
    b: AUEstimator | None
    verifier: Verifier
    landmarks: AUEstimator | None = None

    @property
    def by_role(self) -> dict[str, AUEstimator | Verifier]:
        """The instruments that are there."""
        others = {"b": self.b, "landmarks": self.landmarks}
        there = {role: estimator for role, estimator in others.items() if estimator is not None}
        return {"a": self.a, **there, "verifier": self.verifier}

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of the weights of each instrument that decides a score: not of the third opinion."""
        return {role: one.sha256 for role, one in self.by_role.items() if role != "landmarks"}

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """What a report says of each instrument, by role."""
        return {role: described(instrument) for role, instrument in self.by_role.items()}


def described(instrument: AUEstimator | Verifier) -> dict[str, Any]:
    """Return what a report says of an instrument: its card, its name and its sha256."""
    name = getattr(instrument, "name", type(instrument).__name__)
    return {**getattr(instrument, "card", {}), "name": name, "sha256": instrument.sha256}


def images_of(array: np.ndarray, device: str) -> Tensor:
    """Convert uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1] on `device`."""
    return to_network_range(torch.from_numpy(np.array(array)).to(device).permute(0, 3, 1, 2))


def batches(count: int, progress: Progress, what: str) -> Iterator[slice]:
    """Yield which of `count` things are worked on together, behind a progress bar."""
    starts = range(0, count, BATCH)
    for start in progress(starts, len(starts), what):
        yield slice(start, start + BATCH)


def in_batches(
    function: Callable[[Tensor], Tensor], images: np.ndarray, device: str, progress: Progress, what: str
) -> np.ndarray:
    """Return a network's float32 answers (N, ...) to uint8 images (N, H, W, 3), without gradients."""
    with torch.no_grad():
        return np.concatenate(
            [
                function(images_of(images[part], device)).float().cpu().numpy()
                for part in batches(len(images), progress, what)
            ]
        )


def read_aus(
    estimator: AUEstimator,
    images: np.ndarray,
    device: str,
    progress: Progress = progress_bar,
    what: str = "read AUs",
) -> np.ndarray:
    """Return an estimator's readings of uint8 images (N, H, W, 3): float32 (N, 17), NaN where it has none."""
    return in_batches(estimator.predict, images, device, progress, what)


def embed(
    verifier: Verifier,
    images: np.ndarray,
    device: str,
    progress: Progress = progress_bar,
    what: str = "embed faces",
) -> np.ndarray:
    """Return the verifier's embeddings of uint8 images (N, H, W, 3): float32 (N, D)."""
    return in_batches(verifier.embed, images, device, progress, what)
