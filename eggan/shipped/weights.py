"""Loading the shipped weights: `<name>.safetensors` (fp16) beside `<name>.json`, its card.

A file whose sha256 is not its card's is refused before anything is read from it.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from eggan.checkpoint import Checkpoint, ModelCard, write_safetensors
from eggan.errors import UserError
from eggan.files import hash_files, read_json, write_json

FOLDER = Path(__file__).parent
CARD_VERSION = 1
DEFAULT = "eggan_w_64"  # what `eggan edit` uses when no checkpoint is named
NAMES = (DEFAULT, "eggan_64")
FIELDS = {"method", "method_version", "config", "image_size", "sha256", "data", "held_out"}
RESTORE = "install the package again"


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
        weights = load(path.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{path.name} holds no weights ({error}): {RESTORE}") from None
    model = ModelCard(card["method"], card["method_version"], card["config"], card["image_size"])
    return Checkpoint(model, {key: value.float() for key, value in weights.items()})


def save_shipped(checkpoint: Checkpoint, name: str, card: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write a checkpoint's weights as fp16 and its card, which gains what the weights themselves say."""
    path = folder / f"{name}.safetensors"
    halves = {key: value.to(torch.float16).contiguous() for key, value in checkpoint.weights.items()}
    write_safetensors(halves, path)
    own = {
        "card_version": CARD_VERSION,
        "name": name,
        **checkpoint.card.fields,
        "parameters": sum(value.numel() for value in halves.values()),
        "sha256": hash_files([path]),
    }
    write_json({**card, **own}, folder / f"{name}.json")
