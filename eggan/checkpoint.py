"""Checkpoints: inference weights as safetensors with `config.json`; the training state apart.

Every file is written beside its place and moved there, so that a crash or a full disk leaves the previous
one.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eggan.config import to_dict
from eggan.errors import UserError
from eggan.files import read_json, write_atomically, write_text

FORMAT_VERSION = 1
LARGEST_SIDE = 4096  # pixels; far above any method here
WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "config.json"
STATE_FILE = "training_state.pt"


@dataclass(frozen=True)
class ModelCard:
    """What `config.json` says about the weights beside it.

    `start_sha256` is of the weights file that their training began from, empty where it began anew.
    """

    method: str
    method_version: int
    config: dict[str, Any]
    image_size: int
    start_sha256: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """What is written: a training that began anew writes nothing of a start."""
        return {name: value for name, value in self.__dict__.items() if name != "start_sha256" or value}


@dataclass(frozen=True)
class Checkpoint:
    """A model card and its weights, on the CPU."""

    card: ModelCard
    weights: dict[str, Tensor]


def model_card(
    method: str, method_version: int, config: Any, image_size: int, start_sha256: str = ""
) -> ModelCard:
    """Describe a method built from `config` (a frozen config dataclass)."""
    return ModelCard(method, method_version, to_dict(config), image_size, start_sha256)


def save_checkpoint(folder: Path, card: ModelCard, weights: Mapping[str, Tensor]) -> None:
    """Write `weights.safetensors` and `config.json` into `folder`, each atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_safetensors(plain, folder / WEIGHTS_FILE)
    text = json.dumps({"format_version": FORMAT_VERSION, **card.fields}, indent=2, sort_keys=True) + "\n"
    write_text(text, folder / CONFIG_FILE)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; missing, corrupted or of another version is a `UserError`."""
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a checkpoint: {name} is missing")
    try:
        fields = read_json(folder / CONFIG_FILE)
        version = fields.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise UserError(
                f"{folder} has checkpoint version {version}, this software reads {FORMAT_VERSION}"
            )
        card = ModelCard(**fields)
        kinds = {"method": str, "method_version": int, "config": dict, "image_size": int, "start_sha256": str}
        if (
            not all(isinstance(getattr(card, name), kind) for name, kind in kinds.items())
            or not 0 < card.image_size <= LARGEST_SIDE
        ):
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{folder / CONFIG_FILE} is corrupted: train again or restore the file") from None
    try:
        return Checkpoint(card, load_file(folder / WEIGHTS_FILE))
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError):
        raise UserError(f"{folder / WEIGHTS_FILE} is corrupted: train again or restore the file") from None


def save_training_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write `training_state.pt` atomically."""
    payload = {"format_version": FORMAT_VERSION, **state}
    _write_tensors(folder / STATE_FILE, lambda path: torch.save(payload, path))


def load_training_state(folder: Path, device: torch.device | str) -> dict[str, Any] | None:
    """Return the training state in `folder`, None where there is none; a defect is a `UserError`."""
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        return None
    try:
        state = load_tensors(path, device)
        version = state.get("format_version")
    except Exception:  # a damaged pickle raises whatever its bytes happen to ask for
        raise UserError(f"{path} is corrupted: delete it to start this training again") from None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has version {version}, this software reads {FORMAT_VERSION}: delete it to start again"
        )
    return state


def load_tensors(path: Path, device: torch.device | str) -> Any:
    """Return what `torch.save` wrote, tensors and plain values only, without torch's warnings on odd files.

    On a damaged file it raises anything.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, weights_only=True, map_location=device)


def load_optimizers(
    optimizers: Mapping[str, torch.optim.Optimizer], states: Mapping[str, dict[str, Any]]
) -> None:
    """Restore optimizers by name; moments or settings that no step could use are a `ValueError`."""
    for name, optimizer in optimizers.items():
        before = [dict(group) for group in optimizer.param_groups]
        with warnings.catch_warnings():  # torch warns of odd moments before it raises
            warnings.simplefilter("ignore")
            optimizer.load_state_dict(states[name])
        for old, group in zip(before, optimizer.param_groups, strict=True):
            wrong = [
                key for key, value in old.items() if value is not None and type(group[key]) is not type(value)
            ]
            if wrong:
                raise ValueError(f"the optimizer {name} has {wrong[0]} = {group[wrong[0]]!r}")
        for parameter, moments in optimizer.state.items():
            _check_moments(name, optimizer, parameter, moments)


def _check_moments(name: str, optimizer: torch.optim.Optimizer, parameter: Tensor, moments: Any) -> None:
    shapes = {key: getattr(value, "shape", None) for key, value in dict(moments).items()}
    adams = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
    wanted = adams if isinstance(optimizer, torch.optim.Adam) else {"momentum": parameter.shape}
    if shapes and shapes != wanted:
        kind = type(optimizer).__name__
        raise ValueError(f"the optimizer {name} has other moments than {kind}'s for a parameter")


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors (CPU, contiguous) to `path` atomically."""
    _write_tensors(path, lambda staging: save_file(tensors, staging))


def _write_tensors(path: Path, write: Callable[[Path], object]) -> None:
    try:
        write_atomically(path, write)
    except (SafetensorError, RuntimeError) as error:  # how these libraries report a full disk
        raise UserError(f"cannot write {path}: {error}") from None
