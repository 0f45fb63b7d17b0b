"""A trained method that edits photographs: its weights, what it reads, what it writes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eggan.checkpoint import Checkpoint, load_checkpoint
from eggan.edit.edit_targets import SUPPLIED
from eggan.errors import UserError
from eggan.method import EditsLarge, Method, MethodEntry
from eggan.shipped.weights import DEFAULT, load_shipped, read_card

RENDERED = "synfacs"  # how the names of rendered datasets begin
FindEntry = Callable[[str], Any]  # the entry of a method by its name; a `UserError` where there is none


@dataclass(frozen=True)
class Model:
    """A method ready to edit images of `image_size` pixels; `reads` are the request's fields that it uses.

    `trained_on` is the dataset's name, empty where the checkpoint's folder does not record it.
    """

    name: str
    method: Method
    image_size: int
    reads: tuple[str, ...]
    trained_on: str = ""
    device: torch.device | str = "cpu"

    @property
    def description(self) -> str:
        """What it is and what it writes."""
        rendered = " (rendered faces)" if self.learnt_renders else ""
        data = f"trained on {self.trained_on}{rendered}, " if self.trained_on else ""
        size = f"{self.image_size} x {self.image_size} pixels"
        if self.edits_large:
            return f"{data}reads {size}, writes the photograph's own size"
        return f"{data}writes {size}"

    @property
    def learnt_renders(self) -> bool:
        """Whether it was trained on rendered faces."""
        return self.trained_on.startswith(RENDERED)

    @property
    def edits_large(self) -> bool:
        """Whether its edits are composed at the photograph's own size."""
        return isinstance(self.method, EditsLarge)


def load_model(folder: Path, find: FindEntry, device: torch.device | str) -> Model:
    """Load a checkpoint folder; a missing, corrupted or foreign one is a `UserError`."""
    return _restore(load_checkpoint(folder), str(folder), _trained_on(folder), find, device)


def load_shipped_model(find: FindEntry, device: torch.device | str, name: str = DEFAULT) -> Model:
    """Load weights that come with the package; damaged ones are a `UserError`."""
    trained_on = read_card(name)["data"]["name"]
    return _restore(load_shipped(name), "the shipped weights", trained_on, find, device)


def _restore(
    checkpoint: Checkpoint, place: str, trained_on: str, find: FindEntry, device: torch.device | str
) -> Model:
    card = checkpoint.card
    entry = find(card.method)
    if not isinstance(entry, MethodEntry):
        raise UserError(f"{place} names the method {card.method!r}, which has no weights")
    if card.method_version != entry.version:
        raise UserError(
            f"{place} is of {entry.name} version {card.method_version}, this software has {entry.version}: "
            "train again"
        )
    if not set(entry.reads) <= SUPPLIED:
        raise UserError(f"{entry.name} reads what no option supplies: {', '.join(entry.reads)}")
    method = entry.restored(checkpoint, device, where=f"{place}/config.json")
    return Model(entry.name, method, card.image_size, entry.reads, trained_on, device)


def _trained_on(folder: Path) -> str:
    from eggan.tracking import read_record

    record = read_record(folder)
    contexts = ("train", "train and test")
    datasets = [] if record is None else record.datasets
    return next((entry["name"] for entry in datasets if entry.get("context") in contexts), "")
