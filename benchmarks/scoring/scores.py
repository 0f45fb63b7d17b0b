"""Readings become scores: pair tables, and what is reduced from them with the functions of
`eggan.evaluation`.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.protocol.edit_requests import EditSet, SplitData
from benchmarks.scoring.pair_columns import au_matrix, fully_read, has_reading, read_mask
from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.errors import UserError
from eggan.evaluation import metrics, pixels
from eggan.evaluation.reading import Progress, batches, images_of
from eggan.randomness import numpy_generator

PSNR_CAP = 60.0  # dB; above it nothing is to be seen, and the mean over pairs stays finite
ESTIMATORS = {
    "a": "au",
    "b": "au_b",
    "landmarks": "au_landmarks",
}  # -> group of its metrics
RECONSTRUCTION = "reconstruction"  # group of its summary metrics


class NothingRead(UserError):
    """An AU instrument found no face in any edit: at the end there is nothing to score, before it not yet."""


def pair_frame(data: SplitData, readings: dict[str, np.ndarray], source_readings: np.ndarray) -> pd.DataFrame:
    """Return the pair manifest with the readings (N, 17) of the edits by estimator, and a's readings of the
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


def compare_pixels(
    images: np.ndarray,
    originals: np.ndarray,
    device: str,
    progress: Progress,
    what: str,
    sources: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return `pixel_similarity` of uint8 images (N, H, W, 3), each (N,).

    Where `sources` are given, `originals` are their true edits, and `background` is how much of what stays
    as it was in them has changed in `images`.
    """
    parts = []
    for part in batches(len(images), progress, what):
        image, original = images_of(images[part], device), images_of(originals[part], device)
        columns = pixel_similarity(image, original)
        if sources is not None:
            source = images_of(sources[part], device)
            still = pixels.still_background(source, original)
            columns["background"] = pixels.background_change(source, image, still)
        parts.append(columns)
    return {name: torch.cat([part[name].cpu() for part in parts]).numpy() for name in parts[0]}


def au_summary(frame: pd.DataFrame) -> dict[str, float]:
    """Return Table 1's means over the AUs that an estimator reads, over the pairs that it read; a second or
    third one that read none has no metrics, and where the first did it is `NothingRead`.

    `au/skill` compares the mean MSE with copy-source's, so that rare AUs weigh little.
    """
    read = frame[read_mask(frame, "a")]
    if not len(read):
        raise NothingRead(
            "the AU instrument found no face in any edit of this split: there is nothing to score"
        )
    summary = {"n_pairs": float(len(frame)), "n_failed_readings": float(len(frame) - len(read))}
    for name, group in ESTIMATORS.items():
        if not has_reading(frame, name):
            continue
        pairs = frame[read_mask(frame, name)]
        target, reading = au_matrix(pairs, "target"), au_matrix(pairs, name)
        mean_pcc, defined = metrics.mean_defined(metrics.pcc(target, reading))
        summary |= {
            f"{group}/mse": metrics.mean_defined(metrics.mse(target, reading))[0],
            f"{group}/pcc": mean_pcc,
            f"{group}/pcc_defined": float(defined),
            f"{group}/mae": metrics.mean_defined(metrics.mae(target, reading))[0],
            f"{group}/icc": metrics.mean_defined(metrics.icc31(target, reading))[0],
        }
    copied = metrics.mean_defined(metrics.mse(au_matrix(read, "target"), au_matrix(read, "source_a")))[0]
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
    """Return of which sources of a probe request every face was read (N, 17): bool (sources,)."""
    by_source = fully_read(readings).reshape(-1, len(AU_NUMBERS) + 1)
    return np.asarray(by_source.all(axis=1))


def control_table(readings: np.ndarray, ends: EditSet, alphas: np.ndarray, split: str) -> pd.DataFrame:
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


def reconstruction_columns(size: int) -> dict[str, str]:
    """Return summary metric, without its group -> column of the table that it is the mean of."""
    pixel = {"psnr": "psnr", pixels.ms_ssim_name(size): "msssim", "lpips": "lpips"}
    return {"accuracy": "same", "similarity": "similarity", **pixel, "au_mse": "au_mse"}


def reconstruction_summary(table: pd.DataFrame, size: int) -> dict[str, float]:
    """Return the means over sources, accuracy in percent; what was not measured (NaN) is left out."""
    columns = reconstruction_columns(size)
    means = {
        name: metrics.mean_defined(table[column].to_numpy(np.float64))[0] for name, column in columns.items()
    }
    means["accuracy"] *= 100.0
    return {f"{RECONSTRUCTION}/{name}": value for name, value in means.items() if not np.isnan(value)}
