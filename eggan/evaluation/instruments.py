"""Instruments: frozen scorers with a card. They are loaded here, trained in `train_instruments`, never both.

Each instrument is `weights/<name>.safetensors` (fp16 matrices, fp32 vectors) and `weights/<name>.json`, its
card: recipe, seed, dataset hashes, sha256 of the weights, held-out figures. A file whose sha256 is not the
card's is refused.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eggan.errors import UserError
from eggan.evaluation.instrument_cards import CARD_VERSION, WEIGHTS, read_card
from eggan.evaluation.instrument_networks import FaceEmbedder, MixerAUNet, ResidualAUNet, read_aus
from eggan.evaluation.instrument_weights import load_network, to_storage
from eggan.evaluation.landmark_network import LandmarkRegression
from eggan.files import check_writable, files_in, hash_files, refuse_foreign, replaced_folder
from eggan.outputs import check_output

Which = Literal["a", "b"]
NETWORKS: dict[str, type[nn.Module]] = {
    "au_a": ResidualAUNet,
    "au_b": MixerAUNet,
    "au_landmarks": LandmarkRegression,
    "verifier": FaceEmbedder,
}
FILES = [f"{name}.{suffix}" for name in NETWORKS for suffix in ("safetensors", "json")]
CHUNK = 256  # images per forward pass: bounds memory whatever batch the caller brings


@dataclass(frozen=True)
class NetworkAUEstimator:
    """Reads AU intensities from face images."""

    name: str
    sha256: str
    card: dict[str, Any]
    network: nn.Module = field(repr=False)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return AU intensities float32 (B, 17) in [0, 5] of images (B, 3, H, W) in [-1, 1]."""
        return _forward(partial(read_aus, self.network), images, _device(self.network))


@dataclass(frozen=True)
class NetworkVerifier:
    """Embeds faces; two faces are one person when the cosine of their embeddings reaches the threshold."""

    name: str
    sha256: str
    card: dict[str, Any]
    network: nn.Module = field(repr=False)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Return unit-norm embeddings float32 (B, D) of images (B, 3, H, W) in [-1, 1]."""
        return _forward(self.network, images, _device(self.network))

    @property
    def threshold(self) -> float:
        """Cosine at the equal-error point on real pairs of identities used for nothing else."""
        return float(self.card["threshold"]["cosine"])

    @property
    def false_accept_rate(self) -> float:
        """Share of impostor pairs accepted at the threshold, in [0, 1], on the pairs that fixed it."""
        return float(self.card["threshold"]["false_accept_rate"])


def load_au_estimator(
    which: Which, device: torch.device | str = "cpu", folder: Path | None = None
) -> NetworkAUEstimator:
    """Load estimator "a" (residual CNN) or "b" (MLP-mixer); weights missing or altered: `UserError`."""
    if which not in ("a", "b"):
        raise UserError(f"there is no AU estimator {which!r}: choose a or b")
    name = f"au_{which}"
    card, network = load_instrument(name, device, folder)
    return NetworkAUEstimator(name, card["sha256"], card, network)


def load_verifier(device: torch.device | str = "cpu", folder: Path | None = None) -> NetworkVerifier:
    """Load the face verifier; missing or altered weights are a `UserError`."""
    card, network = load_instrument("verifier", device, folder)
    return NetworkVerifier("verifier", card["sha256"], card, network)


def check_place(names: Iterable[str], folder: Path | None, force: bool = False) -> None:
    """Raise a `UserError` where instruments of these names would take the place of files of the user's.

    Earlier instruments may be replaced, and so may all in the package's own folder.
    """
    check_writable(folder or WEIGHTS)
    refuse_foreign(folder or WEIGHTS, FILES)
    if folder is None:
        return
    for name in names:
        for file in (folder / f"{name}.safetensors", folder / f"{name}.json"):
            check_output(file, [], lambda path: _is_instrument(path.stem, path.parent), force)


def _is_instrument(name: str, folder: Path) -> bool:
    try:
        return read_card(name, folder).get("sha256") == hash_files([folder / f"{name}.safetensors"])
    except (UserError, OSError):
        return False


def save_instrument(
    name: str, network: nn.Module, card: dict[str, Any], folder: Path | None = None
) -> dict[str, Any]:
    """Write weights and card, both or neither, and return the card with the weights' sha256.

    The other instruments in the folder stay; one that holds anything else is a `UserError`.
    """
    folder = folder or WEIGHTS
    with replaced_folder(folder, FILES) as staging:
        for kept in [folder / other for other in files_in(folder) if Path(other).stem != name]:
            shutil.copy(kept, staging)
        weights = staging / f"{name}.safetensors"
        save_file(to_storage(network), weights)
        complete = {**card, "card_version": CARD_VERSION, "name": name, "sha256": hash_files([weights])}
        weights.with_suffix(".json").write_text(json.dumps(complete, indent=1) + "\n", encoding="utf-8")
    return complete


def load_instrument(
    name: str, device: torch.device | str = "cpu", folder: Path | None = None
) -> tuple[dict[str, Any], nn.Module]:
    """Return card and network of an instrument of `NETWORKS`; weights missing or altered: `UserError`."""
    return load_network(name, NETWORKS[name], device, folder)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _forward(read: Callable[[Tensor], Tensor], images: Tensor, device: torch.device) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"expected float (B, 3, H, W) in [-1, 1], not {images.dtype} {tuple(images.shape)}")
    chunks = images.split(CHUNK) if len(images) else (images,)
    with torch.autocast(device.type, enabled=False), one_precision(device):
        return torch.cat([read(_prepared(chunk, device)).float() for chunk in chunks])


def _prepared(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device, torch.float32).contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def one_precision(device: torch.device) -> Iterator[None]:
    """Keep TF32 out of convolutions on CUDA: an instrument reads the same on every device."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
