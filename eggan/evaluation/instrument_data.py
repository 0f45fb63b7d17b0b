"""Renders to train and check instruments on: dense SynFACS identities of no benchmark split.

Each purpose has a population of its own, so identities never meet: `instruments-train`,
`instruments-validation` (for choosing a recipe), `instruments-test` (held-out figures), `verifier-threshold`
(the equal-error point).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eggan.config import setting
from eggan.data.dataset import Dataset, load_dataset
from eggan.data.images import to_network_range, to_uint8
from eggan.evaluation.instrument_networks import INPUT_SIZE, to_input_size


@dataclass(frozen=True)
class RenderPlan:
    """One dataset: which identities, how many, how many images of each, at which size.

    `split` is "dense" (random AU combinations) or "wide" (8 expressions x 3 gazes per identity).
    """

    population: str
    size: int
    identities: int
    images_per_identity: int
    split: str = "dense"

    @property
    def folder_name(self) -> str:
        """Folder name that says what is inside."""
        return f"{self.population}-{self.size}-{self.identities}x{self.images_per_identity}"


@dataclass(frozen=True)
class DataRecipe:
    """How many renders go into training and into each figure of the card."""

    identities: int = setting(2800, "ours: estimators must meet many faces to read a new one")
    images_per_identity: int = setting(8, "ours: the verifier needs several expressions of one person")
    large_identities: int = setting(200, "ours: 128 px renders, area-averaged, look slightly different")
    posed_identities: int = setting(
        120, "ours: neutral and posed faces are rare among random AU combinations"
    )
    validation_identities: int = setting(60, "ours: 480 images")
    held_out_identities: int = setting(150, "ours: 1,200 images at 64 px")
    held_out_large_identities: int = setting(40, "ours: 320 images at 128 px")
    threshold_identities: int = setting(128, "protocol: identities used for nothing else; at least 64")
    seed: int = setting(0, "ours")

    def training(self) -> tuple[RenderPlan, ...]:
        """Return the plans for training; no two share an identity."""
        return (
            RenderPlan("instruments-train", 64, self.identities, self.images_per_identity),
            RenderPlan("instruments-train-large", 128, self.large_identities, self.images_per_identity),
            RenderPlan("instruments-train-posed", 64, self.posed_identities, 24, "wide"),
        )

    def validation(self) -> RenderPlan:
        """Return the plan on which recipes are compared and training is watched."""
        return RenderPlan("instruments-validation", 64, self.validation_identities, 8)

    def held_out(self, population: str) -> tuple[RenderPlan, ...]:
        """Return the plans of a held-out population at both sizes."""
        return (
            RenderPlan(population, 64, self.held_out_identities, 8),
            RenderPlan(population, 128, self.held_out_large_identities, 8),
        )

    def threshold(self) -> RenderPlan:
        """Return the plan that fixes the verifier's threshold: posed faces, as the protocol compares them."""
        return RenderPlan("verifier-threshold", 64, self.threshold_identities, 24, "wide")


@dataclass(frozen=True)
class Faces:
    """Images with labels, in memory."""

    images: Tensor  # uint8 (N, 3, 64, 64), or the native size where it was kept
    aus: Tensor  # float32 (N, 17)
    identity: Tensor  # int64 (N,), 0 .. number of identities - 1

    def __len__(self) -> int:
        return len(self.images)


def render(plan: RenderPlan, seed: int, folder: Path, workers: int) -> Dataset:
    """Return a plan's dataset; one that `folder` already holds is kept."""
    from eggan.data import synfacs  # compiles kernels on import: only where something is rendered

    built = synfacs.build(
        split=plan.split,
        size=plan.size,
        seed=seed,
        identities=plan.identities,
        images_per_identity=plan.images_per_identity,
        population=plan.population,
        workers=workers,
        out=folder / plan.folder_name,
    )
    return load_dataset(built)


def benchmark_split(split: str, size: int, seed: int, folder: Path, workers: int) -> Dataset:
    """Return the benchmark's own `twin` or `wide` data, for held-out figures only."""
    from eggan.data import synfacs

    out = folder / f"{split}-{size}"
    return load_dataset(synfacs.build(split=split, size=size, seed=seed, workers=workers, out=out))


def in_memory(datasets: list[Dataset], rows: list[np.ndarray] | None = None) -> Faces:
    """Return rows (default: all) of datasets as one `Faces` at the instruments' input size."""
    picked = rows or [np.arange(len(dataset.manifest)) for dataset in datasets]
    images = [_shrunk(dataset.tensor(row)) for dataset, row in zip(datasets, picked, strict=True)]
    aus = [dataset.aus(row) for dataset, row in zip(datasets, picked, strict=True)]
    names = [
        f"{index}/{name}"
        for index, (dataset, row) in enumerate(zip(datasets, picked, strict=True))
        for name in dataset.manifest["identity"].iloc[row]
    ]
    identity = np.unique(names, return_inverse=True)[1]
    return Faces(torch.cat(images), torch.from_numpy(np.concatenate(aus)), torch.from_numpy(identity))


def dataset_hashes(datasets: Mapping[str, Dataset]) -> dict[str, dict[str, Any]]:
    """Return what a card says about each dataset: content hash, images, identities, renderer version."""
    return {
        name: {
            "content_hash": dataset.content_hash,
            "images": len(dataset.manifest),
            "identities": int(dataset.manifest["identity"].nunique()),
            "size": dataset.size,
            "version": str(dataset.info["version"]),
        }
        for name, dataset in datasets.items()
    }


def _shrunk(images: Tensor) -> Tensor:
    if images.shape[-1] == INPUT_SIZE:
        return images
    parts = [to_uint8(to_input_size(to_network_range(part))) for part in images.split(512)]
    return torch.cat(parts)
