"""LightCNN as the verifier of Table 2, as in the paper: a threshold of its own on each dataset's people."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines import lightcnn
from eggan.checkpoint import WEIGHTS_FILE
from eggan.data.align import FACE, current_kind
from eggan.data.dataset import Dataset
from eggan.evaluation.reading import Progress
from eggan.evaluation.verification import stored_threshold
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from eggan.files import hash_files


@dataclass(frozen=True)
class LightCNNVerifier:
    """LightCNN with a threshold fixed on real pairs of training identities; `card` says how well it does.

    `aligned`: the eyes stand where `eggan.faces.framing` puts them, so faces are framed as LightCNN's own.
    """

    name: str
    sha256: str
    card: dict[str, Any]
    network: nn.Module
    aligned: bool

    @property
    def threshold(self) -> float:
        """Cosine at the equal-error point, the mean over folds."""
        return float(self.card["threshold"]["cosine"])

    def embed(self, images: Tensor) -> Tensor:
        """Return unit-norm embeddings (B, 256) of images (B, 3, H, W) in [-1, 1]."""
        return embed_faces(self.network, self.aligned, images)


def lightcnn_verifier(
    folder: Path, dataset: Dataset, device: str, cache: Path, progress: Progress
) -> LightCNNVerifier:
    """Load the weights of `eggan import lightcnn` with their threshold on the training people of `dataset`.

    The threshold is kept in `cache`. Weights that are none of LightCNN's or know nobody are a `UserError`.
    """
    network, aligned = lightcnn.load_lightcnn(folder, torch.device(device)), is_aligned(dataset)
    weights = hash_files([folder / WEIGHTS_FILE])
    framing = f"eyes at {EYE_LINE} {EYE_DISTANCE}" if aligned else "as it is"
    sha256 = hashlib.sha256(f"{weights} {framing}".encode()).hexdigest()
    path = cache / f"threshold-{sha256[:16]}-{dataset.content_hash[:16]}.json"
    embed = partial(embed_faces, network, aligned)
    card = {
        "title": f"LightCNN-{lightcnn.variant_of(network)} (weights {weights[:12]})",
        "framing": "its own" if aligned else "the dataset's",
        "threshold": stored_threshold(path, dataset, embed, device, progress),
    }
    return LightCNNVerifier("lightcnn", sha256, card, network, aligned)


def embed_faces(network: nn.Module, aligned: bool, images: Tensor) -> Tensor:
    """Return LightCNN's unit-norm embeddings (B, 256), of faces in its own framing where that is known."""
    faces = lightcnn.framed(images, EYE_LINE, EYE_DISTANCE) if aligned else images
    return lightcnn.embed(network, faces)


def is_aligned(dataset: Dataset) -> bool:
    """Return whether the eyes of a dataset's faces stand at the places of `eggan.faces.framing`."""
    alignment = dict(dataset.info.get("parameters", {})).get("align", "")
    return dataset.is_synfacs or current_kind(alignment) == FACE
