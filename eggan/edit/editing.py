"""Editing one photograph with a trained checkpoint: which checkpoint, which AUs, which frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eggan.aus import AU_COUNT, AU_NUMBERS, parse_au
from eggan.checkpoint import Checkpoint, load_checkpoint
from eggan.data.images import to_uint8
from eggan.edit.edit_targets import SUPPLIED
from eggan.errors import UserError
from eggan.method import EditRequest, EditsLarge, Method, MethodEntry
from eggan.shipped.weights import DEFAULT, load_shipped, read_card
from eggan.warp import Parts, compose, warp

RENDERED = "synfacs"  # how the names of rendered datasets begin
GAP = 2  # white pixels between the frames of a strip
FindEntry = Callable[[str], Any]  # the entry of a method by its name; a `UserError` where there is none
LARGEST_SIDE = 2048  # pixels of an edit that is composed at the photograph's own size: bounds memory


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
        rendered = " (rendered faces)" if self.trained_on.startswith(RENDERED) else ""
        data = f"trained on {self.trained_on}{rendered}, " if self.trained_on else ""
        size = f"{self.image_size} x {self.image_size} pixels"
        if self.edits_large:
            return f"{data}reads {size}, writes the photograph's own size"
        return f"{data}writes {size}"

    @property
    def edits_large(self) -> bool:
        """Whether its edits are composed at the photograph's own size."""
        return isinstance(self.method, EditsLarge)

    def at_own_size(self, pixels: Tensor) -> Tensor:
        """Return pictures (B, 3, S, S) at the size that the method reads."""
        side = self.image_size
        if pixels.shape[-1] == side:
            return pixels
        return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)

    def edit(self, request: EditRequest) -> Tensor:
        """Return the edits (B, 3, S, S) in [-1, 1] of a request whose source may be larger where
        `edits_large` holds.
        """
        if isinstance(self.method, EditsLarge):
            parts = self.method.parts(self.at_own_size(request.source), request.target_aus)
            return compose(_enlarged(parts, request.source)).clamp(-1, 1)
        return self.method.edit(request)


def _enlarged(parts: Parts, source: Tensor) -> Parts:
    """Return the parts at the resolution of `source` (B, 3, S, S), which is moved in their stead."""
    flow, colour, paint = (
        F.interpolate(field, source.shape[-2:], mode="bilinear", align_corners=False)
        for field in (parts.flow, parts.colour, parts.paint)
    )
    return Parts(flow, warp(source, flow), colour, paint)


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


def parse_aus(texts: Sequence[str]) -> dict[int, float]:
    """Parse `["12=4", "6=3"]` into {position: intensity}; an AU that is named twice is a `UserError`."""
    found: dict[int, float] = {}
    for text in texts:
        position, intensity = parse_au(text)
        if position in found:
            raise UserError(f"AU{AU_NUMBERS[position]} is given twice")
        found[position] = intensity
    return found


def au_vector(base: np.ndarray, changes: dict[int, float]) -> np.ndarray:
    """Return a copy of `base` (17,) with some intensities replaced."""
    vector = np.array(base, dtype=np.float32)
    for position, intensity in changes.items():
        vector[position] = intensity
    return vector


def source_intensities(
    pixels: Tensor, named: Sequence[str], neutral: bool, device: torch.device | str
) -> np.ndarray:
    """Return the source's AUs (17,): as named (the rest 0), all 0 when neutral, else read by estimator a.

    pixels: (1, 3, S, S) in [-1, 1].
    """
    if named or neutral:
        return au_vector(np.zeros(AU_COUNT), parse_aus(named))
    from eggan.evaluation.instruments import load_au_estimator

    return load_au_estimator("a", device).predict(pixels.to(device))[0].cpu().numpy()


def edit_request(
    pixels: Tensor,
    source_aus: np.ndarray,
    target_aus: np.ndarray,
    device: str,
    expression: int = -1,
    reference: Tensor | None = None,
) -> EditRequest:
    """Return a request for one image (1, 3, S, S); without a reference the source stands in for it."""
    source = pixels.to(device)
    return EditRequest(
        source=source,
        source_aus=torch.from_numpy(source_aus)[None].to(device),
        target_aus=torch.from_numpy(target_aus)[None].to(device),
        target_expression=torch.full((1,), expression, dtype=torch.int64, device=device),
        reference=source if reference is None else reference.to(device),
    )


def interpolation(model: Model, request: EditRequest, steps: int) -> Tensor:
    """Return `steps` frames (K, 3, S, S) from the source to the edit (Eq. 8), for one source.

    A method that offers `interpolate` makes them itself; any other is asked for the AUs of each frame, and
    one that reads no AUs is a `UserError`.
    """
    alpha = torch.linspace(0, 1, steps, device=request.source.device)
    own = getattr(model.method, "interpolate", None)
    if own is not None:
        return own(request, alpha)[0]
    if "target_aus" not in model.reads:
        raise UserError(f"{model.name} reads no AUs, so it has no frames in between: use `eggan edit`")
    between = torch.lerp(request.source_aus, request.target_aus, alpha[:, None])
    return torch.cat([model.edit(replace(request, target_aus=aus[None])) for aus in between])


def to_picture(image: Tensor) -> np.ndarray:
    """Return an image (3, H, W) in [-1, 1] as uint8 (H, W, 3)."""
    return to_uint8(image).permute(1, 2, 0).cpu().numpy()


def strip(frames: Tensor) -> np.ndarray:
    """Return frames (K, 3, H, W) in [-1, 1] beside each other on white: uint8 (H, K * (W + gap) - gap, 3)."""
    gap = np.full((frames.shape[2], GAP, 3), 255, dtype=np.uint8)
    parts = [part for frame in frames for part in (to_picture(frame), gap)]
    return np.concatenate(parts[:-1], axis=1)
