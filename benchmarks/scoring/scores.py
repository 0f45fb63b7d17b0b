"""Edits become scores: the frozen instruments read them, pure functions of `eggan.evaluation` reduce the
readings.

Edits are quantised to 8 bits before they are read, as image files would be.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.protocol.edit_requests import Request, SplitData
from benchmarks.scoring.pair_columns import au_matrix, read_mask
from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.data.images import to_network_range, to_uint8
from eggan.errors import UserError
from eggan.evaluation import metrics, pixels
from eggan.method import EditRequest
from eggan.progress import progress_bar
from eggan.randomness import numpy_generator

BATCH = 64
PSNR_CAP = 60.0  # dB; above it nothing is to be seen, and the mean over pairs stays finite
TARGET = [f"target_{name}" for name in AU_COLUMNS]
ESTIMATORS = {"a": "au", "b": "au_b"}  # estimator -> group of its summary metrics

Progress = Callable[..., Iterable[Any]]
EditFunction = Callable[[EditRequest, Tensor | None], Tensor]


class AUEstimator(Protocol):
    """Reads AUs: images (B, 3, H, W) in [-1, 1] to intensities (B, 17) in [0, 5]."""

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    def predict(self, images: Tensor) -> Tensor:
        """Return the AU intensities of a batch."""
        ...


class Verifier(Protocol):
    """Embeds faces: images (B, 3, H, W) in [-1, 1] to unit vectors (B, D); same person at cosine >=
    threshold.
    """

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def threshold(self) -> float:
        """Cosine fixed beforehand on real pairs."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        ...


@dataclass(frozen=True)
class Instruments:
    """The frozen scorers of a benchmark. `b` is the second AU estimator, None where there is none."""

    a: AUEstimator
    b: AUEstimator | None
    verifier: Verifier

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of each instrument's weights."""
        second = {"b": self.b.sha256} if self.b is not None else {}
        return {"a": self.a.sha256, **second, "verifier": self.verifier.sha256}

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """What a report says of each instrument, by role."""
        second = {"b": described(self.b)} if self.b is not None else {}
        return {"a": described(self.a), **second, "verifier": described(self.verifier)}


def described(instrument: AUEstimator | Verifier) -> dict[str, Any]:
    """Return what a report says of an instrument: its card, its name and its sha256."""
    name = getattr(instrument, "name", type(instrument).__name__)
    return {**getattr(instrument, "card", {}), "name": name, "sha256": instrument.sha256}


def images_of(array: np.ndarray, device: str) -> Tensor:
    """Convert uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1] on `device`."""
    return to_network_range(torch.from_numpy(np.array(array)).to(device).permute(0, 3, 1, 2))


def run_edits(
    edit: EditFunction, request: Request, truth: np.ndarray | None, device: str, progress: Progress, what: str
) -> np.ndarray:
    """Return the edits of a request in large batches: uint8 (N, H, W, 3)."""
    size = request.sources.size
    edits = np.empty((len(request), size, size, 3), dtype=np.uint8)
    starts = range(0, len(request), BATCH)
    for start in progress(starts, len(starts), what):
        part = slice(start, start + BATCH)
        batch = edit_batch(request, part, device)
        true_edit = None if truth is None else images_of(truth[part], device)
        with torch.no_grad():
            answer = to_uint8(edit(batch, true_edit))
        edits[part] = answer.permute(0, 2, 3, 1).cpu().numpy()
    return edits


def edit_batch(request: Request, part: slice, device: str) -> EditRequest:
    """Return the edits `part` of a request as tensors; without references, `reference` repeats the source."""
    source = images_of(request.sources.images[request.rows[part]], device)
    reference = source
    if request.references is not None and request.reference_rows is not None:
        reference = images_of(request.references.images[request.reference_rows[part]], device)
    return EditRequest(
        source=source,
        source_aus=torch.tensor(request.sources.aus(request.rows[part])).to(device),
        target_aus=torch.tensor(request.target_aus[part]).float().to(device),
        target_expression=torch.tensor(request.expressions[part]).to(device),
        reference=reference,
    )


def _in_batches(
    function: Callable[[Tensor], Tensor], images: np.ndarray, device: str, progress: Progress, what: str
) -> np.ndarray:
    starts = range(0, len(images), BATCH)
    with torch.no_grad():
        return np.concatenate(
            [
                function(images_of(images[start : start + BATCH], device)).float().cpu().numpy()
                for start in progress(starts, len(starts), what)
            ]
        )


def read_aus(
    estimator: AUEstimator,
    images: np.ndarray,
    device: str,
    progress: Progress = progress_bar,
    what: str = "read AUs",
) -> np.ndarray:
    """Return an estimator's readings of uint8 images (N, H, W, 3): float32 (N, 17), NaN where it has none."""
    return _in_batches(estimator.predict, images, device, progress, what)


def embed(
    verifier: Verifier,
    images: np.ndarray,
    device: str,
    progress: Progress = progress_bar,
    what: str = "embed faces",
) -> np.ndarray:
    """Return the verifier's embeddings of uint8 images (N, H, W, 3): float32 (N, D)."""
    return _in_batches(verifier.embed, images, device, progress, what)


def pair_frame(data: SplitData, readings: dict[str, np.ndarray], source_readings: np.ndarray) -> pd.DataFrame:
    """Return the pair manifest with the readings (N, 17) of estimators a and b, and a's readings of the
    sources.
    """
    parts = [data.pairs.reset_index(drop=True)]
    for name, values in (*readings.items(), ("source_a", source_readings)):
        parts.append(pd.DataFrame(values, columns=[f"{name}_{column}" for column in AU_COLUMNS]))
    return pd.concat(parts, axis=1)


def add_identity(frame: pd.DataFrame, source: np.ndarray, edit: np.ndarray, threshold: float) -> pd.DataFrame:
    """Add `similarity`, the cosine of unit embeddings (N, D) of source and edit, and `same` (at the
    threshold).
    """
    similarity = np.einsum("nd,nd->n", source, edit)
    return frame.assign(similarity=similarity, same=similarity >= threshold)


def pixel_similarity(image: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return `psnr` (capped), `msssim` and `lpips` (NaN without its weights) per image, each (B,)."""
    measured = pixels.lpips_missing() is None
    return {
        "psnr": pixels.psnr(image, truth).clamp(max=PSNR_CAP),
        "msssim": pixels.ms_ssim(image, truth),
        "lpips": pixels.lpips(image, truth) if measured else torch.full((len(image),), torch.nan),
    }


def add_pixels(
    frame: pd.DataFrame,
    data: SplitData,
    edits: np.ndarray,
    truth: np.ndarray,
    device: str,
    progress: Progress = progress_bar,
) -> pd.DataFrame:
    """Add `psnr`, `msssim`, `lpips` (NaN without its weights) and `background` against the true edits."""
    columns: dict[str, list[Tensor]] = {"psnr": [], "msssim": [], "lpips": [], "background": []}
    rows = data.pairs["source_row"].to_numpy()
    starts = range(0, len(edits), BATCH)
    for start in progress(starts, len(starts), f"compare pixels of {data.split} pairs"):
        part = slice(start, start + BATCH)
        edit, true_edit = images_of(edits[part], device), images_of(truth[part], device)
        source = images_of(data.sources.images[rows[part]], device)
        for name, values in pixel_similarity(edit, true_edit).items():
            columns[name].append(values)
        still = pixels.still_background(source, true_edit)
        columns["background"].append(pixels.background_change(source, edit, still))
    return frame.assign(
        **{name: torch.cat([v.cpu() for v in values]).numpy() for name, values in columns.items()}
    )


def per_au_table(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return Table 1 per AU and instrument: split, instrument, au, mse, pcc, mae, icc, skill, n.

    n are the pairs that the instrument read; an instrument that read none has no rows.
    """
    tables = []
    for name in ESTIMATORS:
        read = frame[read_mask(frame, name)]
        if not len(read):
            continue
        target, reading = au_matrix(read, "target"), au_matrix(read, name)
        copied = metrics.mse(target, au_matrix(read, "source_a"))
        error = metrics.mse(target, reading)
        columns = {
            "mse": error,
            "pcc": metrics.pcc(target, reading),
            "mae": metrics.mae(target, reading),
            "icc": metrics.icc31(target, reading),
            "skill": metrics.skill(error, copied) if name == "a" else np.full(len(error), np.nan),
        }
        tables.append(
            pd.DataFrame({"split": split, "instrument": name, "au": AU_NUMBERS, **columns, "n": len(read)})
        )
    if not tables:
        raise UserError(
            "the AU instrument found no face in any edit of this split: there is nothing to score"
        )
    return pd.concat(tables, ignore_index=True)


def au_summary(frame: pd.DataFrame, per_au: pd.DataFrame) -> dict[str, float]:
    """Return the means over AUs. `au/skill` compares the mean MSE with copy-source's, so that rare AUs
    weigh little.
    """
    read = frame[read_mask(frame, "a")]
    summary = {"n_pairs": float(len(frame)), "n_failed_readings": float(len(frame) - len(read))}
    for name, group in ESTIMATORS.items():
        table = per_au[per_au["instrument"] == name]
        if not len(table):
            continue
        mean_pcc, defined = metrics.mean_defined(table["pcc"].to_numpy())
        summary |= {f"{group}/mse": float(table["mse"].mean()), f"{group}/pcc": mean_pcc}
        summary |= {f"{group}/pcc_defined": float(defined), f"{group}/mae": float(table["mae"].mean())}
        summary[f"{group}/icc"] = metrics.mean_defined(table["icc"].to_numpy())[0]
    copied = metrics.mse(au_matrix(read, "target"), au_matrix(read, "source_a")).mean()
    summary["au/skill"] = float(metrics.skill(np.array([summary["au/mse"]]), np.array([copied]))[0])
    return summary


def identity_summary(
    frame: pd.DataFrame, threshold: float, impostor: np.ndarray, genuine: np.ndarray
) -> dict[str, float]:
    """Return Table 2 in percent. `impostor`, `genuine`: similarities of real images of two persons, of one
    person; NaN where there is no second image of that person. Without any there is no `real_accuracy`.
    """
    similarity = frame["similarity"].to_numpy()
    summary = {
        "identity/accuracy": metrics.verification_accuracy(similarity, threshold),
        "identity/similarity": float(similarity.mean()),
        "identity/similarity_p05": float(np.percentile(similarity, 5)),
        "identity/false_accept_rate": metrics.false_accept_rate(impostor, threshold),
    }
    known = genuine[~np.isnan(genuine)]
    if len(known):
        summary["identity/real_accuracy"] = metrics.verification_accuracy(known, threshold)
    return summary


def pixel_summary(frame: pd.DataFrame, size: int) -> dict[str, float]:
    """Return the means of the pixel columns; LPIPS only where it was measured."""
    summary = {
        "pixels/psnr": float(frame["psnr"].mean()),
        f"pixels/{pixels.ms_ssim_name(size)}": float(frame["msssim"].mean()),
        "pixels/background": float(frame["background"].mean()),
    }
    if frame["lpips"].notna().any():
        summary["pixels/lpips"] = float(frame["lpips"].mean())
    return summary


def genuine_partners(data: SplitData) -> np.ndarray:
    """Return for each pair another real image of the source's identity: with the target's expression if
    there is one.

    Seeded; the row numbers are in `data.sources`, -1 for a person with a single image, who cannot be compared
    with anything but it. It stands for "Real" in Table 2.
    """
    manifest = data.sources.manifest.iloc[data.sources.rows(data.split)]
    members = {str(name): group for name, group in manifest.groupby("identity")}
    generator = numpy_generator("genuine", data.split)
    partners = []
    for pair in data.pairs.itertuples():
        group = members[str(pair.source_identity)]
        others = group[group.index != pair.source_row]
        alike = others[others["expression"] == pair.target_expression]
        choice = (alike if len(alike) else others).index.to_numpy()
        partners.append(int(generator.choice(choice)) if len(choice) else -1)
    return np.array(partners, dtype=np.int64)


def single_image_people(data: SplitData) -> list[str]:
    """Return the identities among the pairs' sources that have one image in the split."""
    owners = data.sources.manifest["identity"].iloc[data.sources.rows(data.split)].astype(str)
    single = owners.value_counts().loc[lambda counts: counts == 1].index
    return sorted(set(single) & set(data.pairs["source_identity"].astype(str)))


def response_table(readings: np.ndarray, probed: np.ndarray, split: str) -> tuple[pd.DataFrame, float]:
    """Return the 17 x 17 response matrix as rows split, probed_au, read_au, change; and the off-target drift.

    `readings` (N, 17) of the probes, `probed` (N,) as from `probe_request`: per source first the zero vector
    (-1). A source with an unread probe says nothing on the others and is left out; no source left: NaN.
    """
    count = len(AU_NUMBERS) + 1
    whole = read_sources(readings)
    by_source = readings.reshape(-1, count, len(AU_NUMBERS))[whole]
    before = np.repeat(by_source[:, :1], count - 1, axis=1).reshape(-1, len(AU_NUMBERS))
    after = by_source[:, 1:].reshape(-1, len(AU_NUMBERS))
    probed = probed.reshape(-1, count)[whole].reshape(-1)
    moved = probed[probed >= 0]
    change = metrics.response_matrix(before, after, moved)
    rows = [
        {"split": split, "probed_au": probe, "read_au": read, "change": change[i, j]}
        for i, probe in enumerate(AU_NUMBERS)
        for j, read in enumerate(AU_NUMBERS)
    ]
    drift = metrics.off_target_drift(before, after, moved) if whole.any() else float("nan")
    return pd.DataFrame(rows), drift


def read_sources(readings: np.ndarray) -> np.ndarray:
    """Return which sources of a probe request have all their readings (N, 17): bool (sources,)."""
    by_source = readings.reshape(-1, len(AU_NUMBERS) + 1, len(AU_NUMBERS))
    return ~np.isnan(by_source).any(axis=(1, 2))


def control_table(readings: np.ndarray, ends: Request, alphas: np.ndarray, split: str) -> pd.DataFrame:
    """Return split, sequence, spearman, slope, monotone of the readings (S * K, 17) along Eq. 8."""
    frames = readings.reshape(len(ends), len(alphas), -1)
    way = metrics.progress(frames, ends.sources.aus(ends.rows), ends.target_aus)
    return pd.DataFrame(
        {
            "split": split,
            "sequence": np.arange(len(ends)),
            "spearman": metrics.spearman_with_alpha(way, alphas),
            "slope": metrics.slope_with_alpha(way, alphas),
            "monotone": metrics.monotone_share(way),
        }
    )


def control_summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the means over sequences; NaN where no sequence has a value."""
    return {f"control/{name}": float(table[name].mean()) for name in ("spearman", "slope", "monotone")}
