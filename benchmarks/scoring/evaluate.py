"""Scoring one method under a protocol: asks for the edits, has them read, writes the `scores/` folder of a
cell.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.protocol.edit_requests import Request, SplitData, control_request, path_request, probe_request
from benchmarks.protocol.protocol_config import Protocol
from benchmarks.protocol.true_edits import NO_TRUTH, TruthCache
from benchmarks.scoring import scores
from benchmarks.scoring.caveats import notes_on
from benchmarks.scoring.reconstruction import GROUP as RECONSTRUCTION
from benchmarks.scoring.reconstruction import (
    Reconstruct,
    reconstructed,
    reconstruction_columns,
    reconstruction_summary,
    reconstruction_table,
)
from benchmarks.scoring.scores import EditFunction, Instruments, Progress
from eggan.errors import UserError
from eggan.evaluation import inception, pixels, realism
from eggan.files import write_atomically, write_json
from eggan.method import Method, Reconstructs
from eggan.progress import working
from eggan.randomness import numpy_generator

IDENTITY = ("accuracy", "similarity", "similarity_p05", "false_accept_rate", "real_accuracy")
CONTROL = ("spearman", "slope", "monotone")
NO_SECOND_IMAGE = "no person of this split has a second image"
NO_RECONSTRUCTION = "this method offers no self-reconstruction"
REFERENCE_AS_IT_IS = "a reference redraws no face"
NO_SECOND = "there is no second AU estimator for this dataset"
NOTHING_READ = "the AU instrument found no face in one edit or more of every request"
NO_IMAGE = "this reference answers with AU vectors, not with images"
NO_SINGLE_AU = (
    "this method does not read target AUs, so a single AU or a step along Eq. 8 cannot be asked for"
)
BASIS_FILE = "laboratory.json"  # in the scores of a cell
# These lie in what a method is, the others in what is at hand.
METHOD_REASONS = (NO_IMAGE, NO_SINGLE_AU, NO_RECONSTRUCTION, REFERENCE_AS_IT_IS)


@dataclass(frozen=True)
class Editor:
    """Something that edits. `reads` are fields of EditRequest, and "truth" for the oracle.

    `reconstruct` redraws faces as they are; without it `no_reconstruction` says why there is none.
    """

    edit: EditFunction
    reads: tuple[str, ...]
    reconstruct: Reconstruct | None = None
    no_reconstruction: str = REFERENCE_AS_IT_IS

    @property
    def follows_aus(self) -> bool:
        """Whether an AU vector alone says what is asked: it is read, or nothing that names the target is."""
        return bool({"target_aus", "truth"} & set(self.reads)) or set(self.reads) <= {"source"}


def editor_of(method: Method, reads: tuple[str, ...]) -> Editor:
    """Return a trained method as an editor, with its self-reconstruction where it offers one."""
    own = method.reconstruct if isinstance(method, Reconstructs) else None
    return Editor(lambda request, truth: method.edit(request), reads, own, NO_RECONSTRUCTION)


@dataclass(frozen=True)
class SplitReadings:
    """What is the same for every method on a split: N pairs.

    `source_aus` (N, 17) are estimator a's readings of the sources, `source_embedding` (N, D); `impostor` and
    `genuine` (N,) are similarities of real images of two persons and of one person, NaN where a person has a
    single image.
    """

    source_aus: np.ndarray
    source_embedding: np.ndarray
    impostor: np.ndarray
    genuine: np.ndarray


@dataclass
class ScoringContext:
    """Protocol, pairs, instruments and true edits of a suite; holds what all its cells share."""

    protocol: Protocol
    splits: list[SplitData]
    instruments: Instruments
    truth: TruthCache
    device: str
    progress: Progress
    _readings: dict[str, SplitReadings] = field(default_factory=dict)

    def readings(self, data: SplitData) -> SplitReadings:
        """Return what every method shares on a split; read once."""
        if data.split not in self._readings:
            self._readings[data.split] = _split_readings(data, self)
        return self._readings[data.split]

    def edits(self, editor: Editor, request: Request, what: str) -> np.ndarray:
        """Return the edits of a request: uint8 (N, H, W, 3). The oracle's are the true edits."""
        truth = self.truth.of(request, what) if "truth" in editor.reads else None
        return scores.run_edits(editor.edit, request, truth, self.device, self.progress, what)

    def aus(self, images: np.ndarray, what: str) -> np.ndarray:
        """Return estimator a's readings (N, 17) of uint8 images; NaN where it found no face."""
        return scores.read_aus(self.instruments.a, images, self.device, self.progress, f"read {what}")

    def embed(self, images: np.ndarray, what: str) -> np.ndarray:
        """Return the verifier's embeddings (N, D) of uint8 images."""
        return scores.embed(self.instruments.verifier, images, self.device, self.progress, what)

    @property
    def described(self) -> dict[str, Any]:
        """What the scores rest on: the instruments' cards by role, and notes for their readers."""
        return {"instruments": self.instruments.cards, "notes": notes_on(self.splits, self.instruments)}


@dataclass
class Scores:
    """The results of one cell; `write` stores them under the names that reports read.

    `basis` is what the scores rest on, `ScoringContext.described`.
    """

    basis: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, pd.DataFrame] = field(default_factory=dict)
    per_au: list[pd.DataFrame] = field(default_factory=list)
    response: list[pd.DataFrame] = field(default_factory=list)
    control: list[pd.DataFrame] = field(default_factory=list)
    reconstruction: list[pd.DataFrame] = field(default_factory=list)

    def skip(self, split: str, group: str, names: tuple[str, ...], reason: str) -> None:
        """Record why metrics of a group have no value."""
        self.not_measured |= {f"{split}/{group}/{name}": reason for name in names}

    def add(self, split: str, values: dict[str, float]) -> None:
        """Add summary metrics of a split."""
        self.summary |= {f"{split}/{name}": value for name, value in values.items()}

    def write(self, folder: Path) -> None:
        """Write summary, tables and reasons into `folder`; each file appears whole or not at all."""
        for split, frame in self.pairs.items():
            write_parquet(frame, folder / f"pairs-{split}.parquet")
        for name in ("per_au", "response", "control", "reconstruction"):
            tables = getattr(self, name)
            if tables:
                write_parquet(pd.concat(tables, ignore_index=True), folder / f"{name}.parquet")
        write_json(self.basis, folder / BASIS_FILE)
        write_json(self.not_measured, folder / "not_measured.json")
        write_json({k: None if np.isnan(v) else v for k, v in self.summary.items()}, folder / "summary.json")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table atomically."""
    write_atomically(path, lambda staging: frame.to_parquet(staging, index=False))


def _split_readings(data: SplitData, scoring: ScoringContext) -> SplitReadings:
    rows = data.pairs["source_row"].to_numpy()
    unique, back = np.unique(rows, return_inverse=True)
    source = scoring.embed(data.sources.images[unique], f"embed {data.split} sources")[back]
    targets = data.targets.images[data.pairs["target_row"].to_numpy()]
    target = scoring.embed(targets, f"embed {data.split} targets")
    partners = scores.genuine_partners(data)
    there = partners >= 0
    genuine = np.full(len(partners), np.nan)
    if there.any():
        partner = scoring.embed(data.sources.images[partners[there]], f"embed {data.split} partners")
        genuine[there] = np.einsum("nd,nd->n", source[there], partner)
    return SplitReadings(
        source_aus=scoring.aus(data.sources.images[unique], f"{data.split} sources")[back],
        source_embedding=source,
        impostor=np.einsum("nd,nd->n", source, target),
        genuine=genuine,
    )


def evaluate(editor: Editor, scoring: ScoringContext) -> Scores:
    """Score a method that edits images, on every split of the protocol."""
    result = Scores(scoring.described)
    for data in scoring.splits:
        _score_pairs(result, editor, scoring, data)
        _score_probes(result, editor, scoring, data)
        _score_control(result, editor, scoring, data)
        _score_reconstruction(result, editor, scoring, data)
    return result


@dataclass(frozen=True)
class ScoredPairs:
    """Edits of a split's N pairs, uint8 (N, H, W, 3), their pair table, and its AU and identity scores."""

    edits: np.ndarray
    frame: pd.DataFrame
    per_au: pd.DataFrame
    summary: dict[str, float]


def score_pairs(editor: Editor, scoring: ScoringContext, data: SplitData) -> ScoredPairs:
    """Edit the pairs of a split and have AUs and identities read: all that a validation needs."""
    shared, verifier = scoring.readings(data), scoring.instruments.verifier
    edits = scoring.edits(editor, data.request, f"edit {data.split} pairs")
    frame = scores.pair_frame(data, _both_readings(edits, scoring, data.split), shared.source_aus)
    embedding = scoring.embed(edits, f"embed {data.split} pairs")
    frame = scores.add_identity(frame, shared.source_embedding, embedding, verifier.threshold)
    per_au = scores.per_au_table(frame, data.split)
    summary = scores.identity_summary(frame, verifier.threshold, shared.impostor, shared.genuine)
    return ScoredPairs(edits, frame, per_au, summary | scores.au_summary(frame, per_au))


def _score_pairs(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    scored = score_pairs(editor, scoring, data)
    result.add(data.split, scored.summary)
    if "identity/real_accuracy" not in scored.summary:
        result.skip(data.split, "identity", ("real_accuracy",), NO_SECOND_IMAGE)
    frame = _score_pixels(result, scoring, data, scored.frame, scored.edits)
    _score_realism(result, scoring, data, scored.edits)
    _keep_pairs(result, data.split, frame, scored.per_au)


def _both_readings(edits: np.ndarray, scoring: ScoringContext, split: str) -> dict[str, np.ndarray]:
    """Return the readings (N, 17) of both estimators; NaN for a second one that is not there."""
    first = scoring.aus(edits, f"{split} pairs")
    second = scoring.instruments.b
    unread = np.full_like(first, np.nan)
    if second is None:
        return {"a": first, "b": unread}
    what = f"read {split} pairs with estimator b"
    return {"a": first, "b": scores.read_aus(second, edits, scoring.device, scoring.progress, what)}


def _keep_pairs(result: Scores, split: str, frame: pd.DataFrame, per_au: pd.DataFrame) -> None:
    if not (per_au["instrument"] == "b").any():
        result.skip(split, "au_b", ("mse", "pcc", "pcc_defined", "mae", "icc"), NO_SECOND)
    result.per_au.append(per_au)
    result.pairs[split] = frame


def _pixel_names(size: int) -> tuple[str, ...]:
    return ("psnr", pixels.ms_ssim_name(size), "background", "lpips")


def _score_pixels(
    result: Scores, scoring: ScoringContext, data: SplitData, frame: pd.DataFrame, edits: np.ndarray
) -> pd.DataFrame:
    truth = scoring.truth.of(data.request, f"true {data.split} pairs")
    if truth is None:
        result.skip(data.split, "pixels", _pixel_names(data.sources.size), NO_TRUTH)
        return frame.assign(psnr=np.nan, msssim=np.nan, lpips=np.nan, background=np.nan)
    frame = scores.add_pixels(frame, data, edits, truth, scoring.device, scoring.progress)
    result.add(data.split, scores.pixel_summary(frame, data.sources.size))
    missing = pixels.lpips_missing()
    if missing:
        result.skip(data.split, "pixels", ("lpips",), missing)
    return frame


def _score_realism(result: Scores, scoring: ScoringContext, data: SplitData, edits: np.ndarray) -> None:
    missing = inception.missing()
    if missing:
        result.skip(data.split, "realism", ("kid", "kid_floor"), missing)
        return
    real = data.sources.images[data.sources.rows(data.split)]
    of_real, of_edits = (
        inception.features(images, scoring.device, scoring.progress) for images in (real, edits)
    )
    with working("computing KID"):
        value = realism.kid_with_floor(of_real, of_edits, numpy_generator("kid", data.split))
    result.add(data.split, {"realism/kid": value.value, "realism/kid_floor": value.floor})


def _score_probes(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    if not editor.follows_aus:
        result.skip(data.split, "drift", ("off_target",), NO_SINGLE_AU)
        return
    request, probed = probe_request(scoring.protocol, data)
    readings = scoring.aus(scoring.edits(editor, request, f"probe {data.split} AUs"), f"{data.split} probes")
    table, drift = scores.response_table(readings, probed, data.split)
    result.response.append(table)
    lost = ~scores.read_sources(readings)
    _add_unless_unread(result, data.split, "drift", {"drift/off_target": drift}, lost)


def _score_control(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    if not editor.follows_aus:
        result.skip(data.split, "control", CONTROL, NO_SINGLE_AU)
        return
    ends, alphas = control_request(scoring.protocol, data)
    frames = scoring.edits(editor, path_request(ends, alphas), f"interpolate {data.split} pairs")
    readings = scoring.aus(frames, f"{data.split} interpolations")
    table = scores.control_table(readings, ends, alphas, data.split)
    result.control.append(table)
    lost = np.isnan(readings.reshape(len(ends), -1)).any(axis=1)
    _add_unless_unread(result, data.split, "control", scores.control_summary(table), lost)


def _score_reconstruction(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    sources, device = data.sources, scoring.device
    names = tuple(reconstruction_columns(sources.size))
    if editor.reconstruct is None:
        result.skip(data.split, RECONSTRUCTION, names, editor.no_reconstruction)
        return
    rows = np.unique(data.pairs["source_row"].to_numpy())
    try:
        images = reconstructed(
            editor.reconstruct, sources, rows, device, scoring.progress, f"redraw {data.split} sources"
        )
    except UserError as refused:
        result.skip(data.split, RECONSTRUCTION, names, str(refused))
        return
    table = reconstruction_table(data, rows, images, scoring.instruments, device, scoring.progress)
    result.reconstruction.append(table)
    summary = reconstruction_summary(table, sources.size)
    result.add(data.split, summary)
    reasons = {"lpips": pixels.lpips_missing() or "", "au_mse": NOTHING_READ}
    for name, reason in reasons.items():
        if f"{RECONSTRUCTION}/{name}" not in summary:
            result.skip(data.split, RECONSTRUCTION, (name,), reason)


def _add_unless_unread(
    result: Scores, split: str, group: str, values: dict[str, float], lost: np.ndarray
) -> None:
    """Add a group's metrics and how many of its requests (N,) were lost to unread faces, if any were."""
    if lost.all():
        result.skip(split, group, tuple(name.partition("/")[2] for name in values), NOTHING_READ)
        return
    result.add(split, values | ({f"{group}/n_failed_requests": float(lost.sum())} if lost.any() else {}))


def evaluate_answer(answer: np.ndarray, scoring: ScoringContext) -> Scores:
    """Score a reference that answers every target with one AU vector (17,): the columns of Table 1 only."""
    result = Scores(scoring.described)
    for data in scoring.splits:
        constant = np.repeat(answer[None], len(data.pairs), axis=0)
        second = constant if scoring.instruments.b is not None else np.full_like(constant, np.nan)
        frame = scores.pair_frame(data, {"a": constant, "b": second}, scoring.readings(data).source_aus)
        unknown = ("similarity", "psnr", "msssim", "lpips", "background")
        frame = frame.assign(
            same=pd.array([pd.NA] * len(frame), dtype="boolean"), **dict.fromkeys(unknown, np.nan)
        )
        per_au = scores.per_au_table(frame, data.split)
        result.add(data.split, scores.au_summary(frame, per_au))
        _keep_pairs(result, data.split, frame, per_au)
        result.skip(data.split, "identity", IDENTITY, NO_IMAGE)
        result.skip(data.split, "pixels", _pixel_names(data.sources.size), NO_IMAGE)
        result.skip(data.split, "realism", ("kid", "kid_floor"), NO_IMAGE)
        result.skip(data.split, "drift", ("off_target",), NO_IMAGE)
        result.skip(data.split, "control", CONTROL, NO_IMAGE)
        result.skip(data.split, RECONSTRUCTION, tuple(reconstruction_columns(data.sources.size)), NO_IMAGE)
    return result
