"""The training rows of a dataset as tensors on one device, read once: no file is touched in the loop."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eggan.data.dataset import Dataset
from eggan.errors import UserError


@dataclass(frozen=True)
class Groups:
    """Which of N training rows are each other's true edits.

    `members` holds the row numbers group by group; the group of row i is the `count[i]` members from
    `first[i]` on, row i among them.
    """

    members: Tensor  # (N,) int64
    first: Tensor  # (N,) int64
    count: Tensor  # (N,) int64

    def partners(self, rows: Tensor, draws: Tensor) -> Tensor:
        """Return one of each row's group, itself included; `draws` (n,) in [0, 1) choose."""
        place = (draws * self.count[rows]).long()
        return self.members[self.first[rows] + torch.minimum(place, self.count[rows] - 1)]


@dataclass(frozen=True)
class TrainingSet:
    """N training images and their labels; identities are numbered 0 .. identities - 1 in sorted order."""

    images: Tensor  # (N, 3, H, W) uint8
    aus: Tensor  # (N, 17) in [0, 5]
    identity: Tensor  # (N,) int64
    expression: Tensor  # (N,) int64, -1 where the dataset names no expression
    identities: int
    groups: Groups | None = None  # None where the dataset has no true edits

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
        groups=make_groups(dataset.groups(rows), device),
    )


def make_groups(group: np.ndarray | None, device: torch.device | str) -> Groups | None:
    """Return the groups of rows whose group numbers are given, (N,) int64; None without numbers."""
    if group is None:
        return None
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    arrays = (np.argsort(number, kind="stable"), starts[number], sizes[number])
    return Groups(*(torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays))
