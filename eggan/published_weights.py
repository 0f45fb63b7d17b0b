"""Finding published weight files; nothing is ever downloaded.

A file such as `vgg19-dcbb9e9d.pth` carries the start of its sha256 in its name. It is looked for in the
folder named by EGGAN_WEIGHTS, then in torch's own cache, and its hash is checked before it is used.
"""

import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from eggan.errors import UserError
from eggan.files import hash_files

VGG19_FILE = "vgg19-dcbb9e9d.pth"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # of FID and KID, as torch-fidelity ports it
LPIPS_FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
DOWNLOAD_URL = "https://download.pytorch.org/models/"
INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
FOLDER_VARIABLE = "EGGAN_WEIGHTS"


def weight_folders() -> list[Path]:
    """Return the folders that are searched, in order."""
    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named)] if named else []), Path(torch.hub.get_dir()) / "checkpoints"]


def find_weights(name: str) -> Path | None:
    """Return the first file called `name` in `weight_folders()`, or None."""
    return next((folder / name for folder in weight_folders() if (folder / name).is_file()), None)


def weights_sha256(path: Path) -> str:
    """Return a weight file's sha256, read once for as long as the file does not change."""
    return _sha256(path, path.stat().st_mtime_ns)


def has_published_hash(path: Path) -> bool:
    """Return whether a file's sha256 begins as its name says."""
    return weights_sha256(path).startswith(path.stem.rpartition("-")[2])


def weights_missing(name: str) -> str | None:
    """Return why a published file cannot be used here; None when it is there and has the right hash."""
    path = find_weights(name)
    if path is None:
        return f"weights missing: {name} (`eggan doctor` says where it is looked for)"
    if not has_published_hash(path):
        return f"weights wrong: the sha256 of {name} starts with {weights_sha256(path)[:8]}"
    return None


def require_weights(name: str, url: str, instead: str) -> Path:
    """Return the verified path of a weight file; a missing or wrong file is a `UserError`.

    `instead` tells the user what works without the file.
    """
    path = find_weights(name)
    if path is None:
        looked = " and ".join(map(str, weight_folders()))
        raise UserError(
            f"{name} not found (looked in {looked}): download {url}{name} into one of them, or {instead}"
        )
    if not has_published_hash(path):
        prefix = path.stem.rpartition("-")[2]
        raise UserError(
            f"{path} is not the published file: its sha256 starts with {weights_sha256(path)[:8]}, "
            f"not {prefix}"
        )
    return path


def load_vgg19_convolutions(instead: str) -> list[tuple[Tensor, Tensor]]:
    """Return (weight, bias) of the 16 convolutions of ImageNet VGG19 in order; a missing file is a
    `UserError` that says what to do `instead`.
    """
    path = require_weights(VGG19_FILE, DOWNLOAD_URL, instead)
    state = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    numbers = sorted(
        int(key.split(".")[1]) for key in state if key.startswith("features.") and key.endswith("weight")
    )
    return [(state[f"features.{n}.weight"], state[f"features.{n}.bias"]) for n in numbers]


@lru_cache(maxsize=8)
def _sha256(path: Path, changed: int) -> str:
    return hash_files([path])
