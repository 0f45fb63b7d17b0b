"""The training rows of a dataset as tensors on one device, read once: no file is touched in the loop."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eggan.data.dataset import Dataset
from eggan.errors import UserError


@dataclass(frozen=True)
class TrainingSet:
    """N training images and their labels; identities are numbered 0 .. identities - 1 in sorted order."""

    images: Tensor  # (N, 3, H, W) uint8
    aus: Tensor  # (N, 17) in [0, 5]
    identity: Tensor  # (N,) int64
    expression: Tensor  # (N,) int64, -1 where the dataset names no expression
    identities: int

    def __len__(self) -> int:
        return len(self.images)


def load_training_set(dataset: Dataset, splits: tuple[str, ...], device: torch.device | str) -> TrainingSet:
    """Load the rows of `splits`; a dataset without such rows is a `UserError`."""
    rows = dataset.rows(*splits)
    if not len(rows):
        raise UserError(f"{dataset.folder} has no images in the split {' or '.join(splits)}")
    names, numbers = np.unique(dataset.manifest["identity"].to_numpy(dtype=str)[rows], return_inverse=True)
    return TrainingSet(
        images=dataset.tensor(rows, device).contiguous(),
        aus=torch.tensor(dataset.aus(rows), device=device),
        identity=torch.from_numpy(numbers.astype(np.int64)).to(device),
        expression=torch.from_numpy(dataset.expressions(rows)).to(device),
        identities=len(names),
    )
