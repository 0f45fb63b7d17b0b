"""Self-reconstruction: what a method makes of the sources when it is asked to leave them as they are.

An editor that redraws the whole face can lose the person before any AU moves; this row says how much of its
error that is. Each source of a split counts once.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.protocol.edit_requests import SplitData
from benchmarks.scoring.scores import (
    BATCH,
    Instruments,
    Progress,
    embed,
    images_of,
    pixel_similarity,
    read_aus,
)
from eggan.data.dataset import Dataset
from eggan.data.images import to_uint8
from eggan.evaluation import pixels
from eggan.evaluation.metrics import mean_defined
from eggan.method import ReconstructionRequest
from eggan.progress import progress_bar

Reconstruct = Callable[[ReconstructionRequest], Tensor]
GROUP = "reconstruction"


def reconstruction_columns(size: int) -> dict[str, str]:
    """Return summary metric, without its group -> column of the table that it is the mean of."""
    pixel = {"psnr": "psnr", pixels.ms_ssim_name(size): "msssim", "lpips": "lpips"}
    return {"accuracy": "same", "similarity": "similarity", **pixel, "au_mse": "au_mse"}


def reconstructed(
    reconstruct: Reconstruct, sources: Dataset, rows: np.ndarray, device: str, progress: Progress, what: str
) -> np.ndarray:
    """Return the self-reconstructions of `sources.images[rows]`: uint8 (N, H, W, 3)."""
    starts = range(0, len(rows), BATCH)
    parts = []
    for start in progress(starts, len(starts), what):
        part = rows[start : start + BATCH]
        request = ReconstructionRequest(
            images_of(sources.images[part], device),
            torch.tensor(sources.aus(part)).to(device),
            torch.tensor(sources.expressions(part)).to(device),
        )
        with torch.no_grad():
            parts.append(to_uint8(reconstruct(request)).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def reconstruction_table(
    data: SplitData,
    rows: np.ndarray,
    images: np.ndarray,
    instruments: Instruments,
    device: str,
    progress: Progress = progress_bar,
) -> pd.DataFrame:
    """Return one line per source: split, source_row, source_identity, similarity, same, psnr, msssim, lpips,
    au_mse.

    `images` (N, H, W, 3) are the self-reconstructions of `data.sources.images[rows]`. `au_mse` is the squared
    error of estimator a's reading against the source's own AUs, mean over the 17; NaN where it found no face.
    """
    verifier, originals = instruments.verifier, data.sources.images[rows]
    kept = (
        embed(verifier, images, device, progress, "embed redrawn faces"),
        embed(verifier, originals, device, progress, "embed their sources"),
    )
    similarity = np.einsum("nd,nd->n", *kept)
    reading = read_aus(instruments.a, images, device, progress, "read redrawn faces")
    error = np.square(reading.astype(np.float64) - data.sources.aus(rows))
    starts = range(0, len(images), BATCH)
    parts = [
        pixel_similarity(images_of(images[start : start + BATCH], device), images_of(original, device))
        for start in progress(starts, len(starts), "compare pixels of redrawn faces")
        for original in [originals[start : start + BATCH]]
    ]
    return pd.DataFrame(
        {
            "split": data.split,
            "source_row": rows,
            "source_identity": data.sources.manifest["identity"].iloc[rows].astype(str).to_numpy(),
            "similarity": similarity,
            "same": similarity >= verifier.threshold,
            **{name: torch.cat([part[name].cpu() for part in parts]).numpy() for name in parts[0]},
            "au_mse": error.mean(axis=1),
        }
    )


def reconstruction_summary(table: pd.DataFrame, size: int) -> dict[str, float]:
    """Return the means over sources, accuracy in percent; what was not measured (NaN) is left out."""
    columns = reconstruction_columns(size)
    means = {name: mean_defined(table[column].to_numpy(np.float64))[0] for name, column in columns.items()}
    means["accuracy"] *= 100.0
    return {f"{GROUP}/{name}": value for name, value in means.items() if not np.isnan(value)}
