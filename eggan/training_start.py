"""What a training begins with in the place of drawn weights: those of another training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eggan.checkpoint import WEIGHTS_FILE, Checkpoint, load_checkpoint
from eggan.config import from_dict
from eggan.errors import UserError
from eggan.files import hash_files
from eggan.method import MethodEntry
from eggan.shipped.weights import FOLDER, NAMES, load_shipped


@dataclass(frozen=True)
class Start:
    """A checkpoint to begin from; `name` is how the user named it, `sha256` that of its weights file."""

    name: str
    sha256: str
    checkpoint: Checkpoint

    def weights_for(self, entry: MethodEntry, config: Any) -> Mapping[str, Tensor]:
        """Return the weights as a method of `config` loads them, grown where the method offers that.

        Those of another method, version or architecture are a `UserError`.
        """
        card = self.checkpoint.card
        if (card.method, card.method_version) != (entry.name, entry.version):
            raise UserError(
                f"{self.name} holds {card.method} version {card.method_version}: "
                f"{entry.name} version {entry.version} cannot begin with it"
            )
        own: Any = from_dict(entry.config, card.config, where=self.name)
        weights = (
            self.checkpoint.weights
            if entry.grow is None
            else entry.grow(self.checkpoint.weights, own, config)
        )
        try:
            entry.restore(config, weights, torch.device("cpu"))
        except UserError as error:
            raise UserError(f"{self.name} is no start for this training: {error}") from None
        return weights


def read_start(name: str) -> Start:
    """Return the start that a user names: a checkpoint's folder, or shipped weights; else a `UserError`."""
    if name in NAMES and not Path(name).is_dir():
        return Start(name, hash_files([FOLDER / f"{name}.safetensors"]), load_shipped(name))
    folder = Path(name)
    checkpoint = load_checkpoint(folder)
    return Start(name, hash_files([folder / WEIGHTS_FILE]), checkpoint)
