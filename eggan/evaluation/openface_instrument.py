"""OpenFace as the AU instrument of Table 1, as in the paper (Sec. 4.2)."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eggan.aus import AU_COLUMNS
from eggan.data.images import to_uint8
from eggan.data.labels.openface_run import OpenFace, label_images

LEAST_SIDE = 256  # pixels; OpenFace's face detector misses smaller faces


@dataclass(frozen=True)
class OpenFaceEstimator:
    """Reads AU intensities with FaceLandmarkImg; readings are kept in `work` by image content."""

    openface: OpenFace
    work: Path
    name: str = field(default="openface", init=False)

    @cached_property
    def sha256(self) -> str:
        """Hash of what decides a reading: the program, the static mode, the enlargement."""
        described = f"{self.openface.sha256} static {LEAST_SIDE}"
        return hashlib.sha256(described.encode()).hexdigest()

    @property
    def card(self) -> dict[str, Any]:
        """What a report says of the instrument."""
        return {"title": f"OpenFace {self.openface.full_version}, static", "enlarged_to": LEAST_SIDE}

    def predict(self, images: Tensor) -> Tensor:
        """Return intensities float32 (B, 17) in [0, 5] of images (B, 3, H, W) in [-1, 1].

        NaN where OpenFace finds no face or several. Small images are enlarged (bicubic) before.
        """
        arrays = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
        with tempfile.TemporaryDirectory(prefix="eggan-openface-") as folder:
            paths = {str(k): _write(array, Path(folder) / f"{k}.png") for k, array in enumerate(arrays)}
            table = label_images(self.openface, paths, self.work, progress=_quiet).table
        values = table.loc[list(paths), list(AU_COLUMNS)].to_numpy(dtype=np.float32, copy=True)
        return torch.from_numpy(values).to(images.device)


def _write(array: np.ndarray, path: Path) -> Path:
    image = Image.fromarray(array)
    if image.width < LEAST_SIDE:
        image = image.resize((LEAST_SIDE, LEAST_SIDE), Image.Resampling.BICUBIC)
    image.save(path)
    return path


def _quiet(batches: list[list[str]], total: int, description: str) -> list[list[str]]:
    """No bar: the caller's is on the screen."""
    return batches
