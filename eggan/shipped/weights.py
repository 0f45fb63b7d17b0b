"""Loading the shipped weights: `<name>.safetensors` beside `<name>.json`, its card.

Weights are stored as fp16, or packed: 8 bits for each weight and one scale for each of the first dimension
(the output channels of a convolution), small tensors as fp16. A file whose sha256 is not its card's is
refused before anything is read from it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from eggan.checkpoint import Checkpoint, ModelCard
from eggan.errors import UserError, known_names
from eggan.files import hash_files, read_json, write_atomically, write_json

FOLDER = Path(__file__).parent
CARD_VERSION = 1
DEFAULT = "eggan_w_128"  # what `eggan edit` uses when no checkpoint is named
NAMES = (DEFAULT, "eggan_w_64", "eggan_64")
FIELDS = {"method", "method_version", "config", "image_size", "sha256", "data", "held_out"}
RESTORE = "install the package again"
SCALE = ".scale"  # ends the name of the scales of a packed tensor
LARGEST = 127  # of the whole numbers that a packed tensor holds
LEAST_PACKED = 4096  # values; smaller tensors have no weight in a file's size
Storage = Literal["fp16", "int8"]
FORMATS: dict[Storage, str] = {
    "fp16": "fp16",
    "int8": f"8 bits per weight and a float32 scale per output channel; fp16 below {LEAST_PACKED} values",
}


def shipped_name(given: Path | None) -> str | None:
    """Return which shipped weights `given` names: the default where it is None, None where it is a folder."""
    if given is None:
        return DEFAULT
    return str(given) if str(given) in NAMES and not given.exists() else None


def check_name(name: str, known: Iterable[str] = NAMES) -> None:
    """Raise a `UserError`, with the name that may be meant, where no known weights are called so."""
    known = tuple(known)
    if name not in known:
        raise UserError(f"no shipped weights are called {name!r}{known_names(name, known)}")


def read_card(name: str = DEFAULT, folder: Path = FOLDER) -> dict[str, Any]:
    """Return the card of shipped weights; a missing, damaged or foreign one is a `UserError`."""
    path = folder / f"{name}.json"
    try:
        card = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing from the shipped weights: {RESTORE}") from None
    except ValueError:
        raise UserError(f"{path.name} is not a valid card: {RESTORE}") from None
    version = card.get("card_version") if isinstance(card, dict) else None
    if version != CARD_VERSION:
        raise UserError(f"{path.name} has card version {version}, this software reads {CARD_VERSION}")
    if lacking := sorted(FIELDS - set(card)):
        raise UserError(f"{path.name} is not a valid card, {lacking[0]} is missing: {RESTORE}")
    return card


def load_shipped(name: str = DEFAULT, folder: Path = FOLDER) -> Checkpoint:
    """Return shipped weights as float32 on the CPU, with their model card; damaged ones are a `UserError`."""
    card, path = read_card(name, folder), folder / f"{name}.safetensors"
    if not path.is_file():
        raise UserError(f"{path.name} is missing from the shipped weights: {RESTORE}")
    if hash_files([path]) != card["sha256"]:
        raise UserError(f"{path.name} is not the file that its card describes: {RESTORE}")
    try:
        weights = unpacked(load(path.read_bytes()))
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{path.name} holds no weights ({error}): {RESTORE}") from None
    model = ModelCard(card["method"], card["method_version"], card["config"], card["image_size"])
    return Checkpoint(model, weights)


def stored(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Return float32 weights as a file of that storage holds them."""
    if storage == "int8":
        return packed(weights)
    return {name: value.to(torch.float16).contiguous() for name, value in weights.items()}


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with large tensors as int8 and their scales, small ones as fp16."""
    whole = {}
    for name, value in weights.items():
        if value.dim() < 2 or value.numel() < LEAST_PACKED:
            whole[name] = value.to(torch.float16).contiguous()
            continue
        largest = value.float().abs().flatten(1).amax(1)
        scale = (largest / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
        whole[name] = (value.float() / _along_first(scale, value)).round().to(torch.int8).contiguous()
        whole[name + SCALE] = scale
    return whole


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored weights, packed or not, as float32; packed ones without scales are a KeyError."""
    weights = {name: value.float() for name, value in tensors.items() if not name.endswith(SCALE)}
    for name, value in weights.items():
        if tensors[name].dtype == torch.int8:
            weights[name] = value * _along_first(tensors[name + SCALE], value)
    return weights


def _along_first(scale: Tensor, value: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (value.dim() - 1))


def save_shipped(
    checkpoint: Checkpoint, name: str, card: dict[str, Any], folder: Path = FOLDER, storage: Storage = "fp16"
) -> None:
    """Write a checkpoint's weights and its card, which gains what the weights themselves say.

    The card comes first: a kill between the two leaves a card alone, which says whose folder it is.
    """
    content = save(stored(checkpoint.weights, storage))
    own = {
        "card_version": CARD_VERSION,
        "name": name,
        **checkpoint.card.fields,
        "storage": FORMATS[storage],
        "parameters": sum(value.numel() for value in checkpoint.weights.values()),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_json({**card, **own}, folder / f"{name}.json")
    write_atomically(folder / f"{name}.safetensors", lambda staged: staged.write_bytes(content))
