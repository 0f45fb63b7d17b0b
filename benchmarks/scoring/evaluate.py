"""Scoring one method under a protocol: asks for the edits, has them read, writes the `scores/` folder of a
cell.

Edits are quantised to 8 bits before they are read, as image files would be.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.protocol.edit_requests import EditSet, SplitData, control_request, path_request, probe_request
from benchmarks.protocol.protocol_config import Protocol
from benchmarks.protocol.true_edits import NO_TRUTH, TruthCache
from benchmarks.scoring import scores
from benchmarks.scoring.caveats import notes_on
from benchmarks.scoring.extremes import extremes
from benchmarks.scoring.pair_columns import row_means
from benchmarks.scoring.scores import RECONSTRUCTION
from eggan.data.dataset import Dataset
from eggan.data.images import to_uint8
from eggan.errors import UserError
from eggan.evaluation import efficientnet, inception, pixels, reading, realism
from eggan.evaluation.reading import AUEstimator, Instruments, Progress
from eggan.files import write_json
from eggan.method import EditRequest, Method, ReconstructionRequest, Reconstructs
from eggan.progress import working
from eggan.randomness import numpy_generator
from eggan.tables import write_table

NO_SECOND_IMAGE = "no person of this split has a second image"
NO_RECONSTRUCTION = "this method offers no self-reconstruction"
REFERENCE_AS_IT_IS = "a reference redraws no face"
NO_SECOND = "there is no second AU estimator for this dataset"
NOTHING_READ = "the AU instrument found no face in one edit or more of every request"
NO_IMAGE = "this reference answers with AU vectors, not with images"
ALL_NEUTRAL = "every target of this split is neutral: there is no way to an expression"
FEW_IMAGES = f"a kernel distance needs {realism.FEWEST_REAL} real images and {realism.FEWEST_EDITS} edits"
NO_SINGLE_AU = (
    "this method does not read target AUs, so a single AU or a step along Eq. 8 cannot be asked for"
)
BASIS_FILE = "laboratory.json"  # in the scores of a cell
# These lie in what a method is, the others in what is at hand.
METHOD_REASONS = (NO_IMAGE, NO_SINGLE_AU, NO_RECONSTRUCTION, REFERENCE_AS_IT_IS)

EditFunction = Callable[[EditRequest, Tensor | None], Tensor]
Reconstruct = Callable[[ReconstructionRequest], Tensor]


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

    def edits(self, editor: Editor, wanted: EditSet, what: str) -> np.ndarray:
        """Return an editor's answers: uint8 (N, H, W, 3). The oracle's are the true edits."""
        truth = self.truth.of(wanted, what) if "truth" in editor.reads else None

        def answer(part: slice) -> Tensor:
            true_edit = None if truth is None else reading.images_of(truth[part], self.device)
            return editor.edit(wanted.batch(part, self.device), true_edit)

        return self._pictures(answer, len(wanted), what)

    def redrawn(self, reconstruct: Reconstruct, faces: Dataset, rows: np.ndarray, what: str) -> np.ndarray:
        """Return the self-reconstructions of `faces.images[rows]`: uint8 (N, H, W, 3)."""

        def answer(part: slice) -> Tensor:
            request = ReconstructionRequest(
                reading.images_of(faces.images[rows[part]], self.device),
                torch.tensor(faces.aus(rows[part])).to(self.device),
                torch.tensor(faces.expressions(rows[part])).to(self.device),
            )
            return reconstruct(request)

        return self._pictures(answer, len(rows), what)

    def _pictures(self, answer: Callable[[slice], Tensor], count: int, what: str) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate(
                [
                    to_uint8(answer(part)).permute(0, 2, 3, 1).cpu().numpy()
                    for part in reading.batches(count, self.progress, what)
                ]
            )

    def aus(self, images: np.ndarray, what: str, estimator: AUEstimator | None = None) -> np.ndarray:
        """Return readings (N, 17) of uint8 images, estimator a's unless another is given; NaN where it found
        no face.
        """
        chosen = estimator or self.instruments.a
        return reading.read_aus(chosen, images, self.device, self.progress, f"read {what}")

    def embed(self, images: np.ndarray, what: str) -> np.ndarray:
        """Return the verifier's embeddings (N, D) of uint8 images."""
        return reading.embed(self.instruments.verifier, images, self.device, self.progress, f"embed {what}")

    @property
    def described(self) -> dict[str, Any]:
        """What the scores rest on: the instruments' cards by role, and notes for their readers."""
        return {"instruments": self.instruments.cards, "notes": notes_on(self.splits, self.instruments)}


def _split_readings(data: SplitData, scoring: ScoringContext) -> SplitReadings:
    rows = data.pairs["source_row"].to_numpy()
    unique, back = np.unique(rows, return_inverse=True)
    source = scoring.embed(data.sources.images[unique], f"{data.split} sources")[back]
    targets = data.targets.images[data.pairs["target_row"].to_numpy()]
    target = scoring.embed(targets, f"{data.split} targets")
    partners = scores.genuine_partners(data)
    there = partners >= 0
    genuine = np.full(len(partners), np.nan)
    if there.any():
        partner = scoring.embed(data.sources.images[partners[there]], f"{data.split} partners")
        genuine[there] = np.einsum("nd,nd->n", source[there], partner)
    return SplitReadings(
        source_aus=scoring.aus(data.sources.images[unique], f"{data.split} sources")[back],
        source_embedding=source,
        impostor=np.einsum("nd,nd->n", source, target),
        genuine=genuine,
    )


@dataclass
class Scores:
    """The results of one cell; `write` stores them under the names that reports read.

    `basis` is what the scores rest on, `ScoringContext.described`. `pictures`: the best and the worst edits
    of the last split, for the cell's showcase.
    """

    basis: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, pd.DataFrame] = field(default_factory=dict)
    response: list[pd.DataFrame] = field(default_factory=list)
    control: list[pd.DataFrame] = field(default_factory=list)
    reconstruction: list[pd.DataFrame] = field(default_factory=list)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, data: SplitData, values: dict[str, float]) -> None:
        """Add summary metrics of a split."""
        self.summary |= {f"{data.split}/{name}": value for name, value in values.items()}

    def skip(self, data: SplitData, group: str, reason: str, *names: str) -> None:
        """Record why metrics of a group have no value: those called `names`, or all of them."""
        for name in names or image_metrics(data.sources.size)[group]:
            self.not_measured[f"{data.split}/{group}/{name}"] = reason

    def write(self, folder: Path) -> None:
        """Write summary, tables and reasons into `folder`; each file appears whole or not at all."""
        for split, frame in self.pairs.items():
            write_table(frame, folder / f"pairs-{split}.parquet")
        for name in ("response", "control", "reconstruction"):
            tables = getattr(self, name)
            if tables:
                write_table(pd.concat(tables, ignore_index=True), folder / f"{name}.parquet")
        write_json(self.basis, folder / BASIS_FILE)
        write_json(self.not_measured, folder / "not_measured.json")
        write_json({k: None if np.isnan(v) else v for k, v in self.summary.items()}, folder / "summary.json")


KID = ("kid", "kid_floor")
LITE = ("lite_distance", "lite_distance_floor")


def image_metrics(size: int) -> dict[str, tuple[str, ...]]:
    """Return group -> its metrics, of those that are read off images of `size` px."""
    return {
        "identity": ("accuracy", "similarity", "similarity_p05", "false_accept_rate", "real_accuracy"),
        "pixels": ("psnr", pixels.ms_ssim_name(size), "background", "lpips"),
        "realism": (*KID, *LITE),
        "drift": ("off_target",),
        "control": ("spearman", "slope", "monotone"),
        RECONSTRUCTION: tuple(scores.reconstruction_columns(size)),
    }


def evaluate(editor: Editor, scoring: ScoringContext) -> Scores:
    """Score a method that edits images, on every split of the protocol."""
    result = Scores(scoring.described)
    for data in scoring.splits:
        _score_pairs(result, editor, scoring, data)
        if editor.follows_aus:
            _score_probes(result, editor, scoring, data)
            _score_control(result, editor, scoring, data)
        else:
            result.skip(data, "drift", NO_SINGLE_AU)
            result.skip(data, "control", NO_SINGLE_AU)
        _score_reconstruction(result, editor, scoring, data)
    return result


def evaluate_answer(answer: np.ndarray, scoring: ScoringContext) -> Scores:
    """Score a reference that answers every target with one AU vector (17,): the columns of Table 1 only."""
    result = Scores(scoring.described)
    for data in scoring.splits:
        constant = np.repeat(answer[None], len(data.pairs), axis=0)
        second = constant if scoring.instruments.b is not None else np.full_like(constant, np.nan)
        readings = {"a": constant, "b": second}
        if scoring.instruments.landmarks is not None:
            readings["landmarks"] = constant
        frame = scores.pair_frame(data, readings, scoring.readings(data).source_aus)
        unknown = ("similarity", "psnr", "msssim", "lpips", "background")
        frame = frame.assign(
            same=pd.array([pd.NA] * len(frame), dtype="boolean"), **dict.fromkeys(unknown, np.nan)
        )
        result.add(data, scores.au_summary(frame))
        _keep_pairs(result, data, frame)
        for group in image_metrics(data.sources.size):
            result.skip(data, group, NO_IMAGE)
    return result


@dataclass(frozen=True)
class ScoredPairs:
    """Edits of a split's N pairs, uint8 (N, H, W, 3), their pair table, and its AU and identity scores."""

    edits: np.ndarray
    frame: pd.DataFrame
    summary: dict[str, float]


def score_pairs(editor: Editor, scoring: ScoringContext, data: SplitData, third: bool = False) -> ScoredPairs:
    """Edit the pairs of a split and have AUs and identities read: all that a validation needs.

    `third`: have the landmark reader read them too, where there is one.
    """
    shared, verifier = scoring.readings(data), scoring.instruments.verifier
    edits = scoring.edits(editor, data.edits, f"edit {data.split} pairs")
    readings, landmarks = _both_readings(edits, scoring, data.split), scoring.instruments.landmarks
    if third and landmarks is not None:
        readings["landmarks"] = scoring.aus(edits, f"{data.split} pairs by their landmarks", landmarks)
    frame = scores.pair_frame(data, readings, shared.source_aus)
    embedding = scoring.embed(edits, f"{data.split} pairs")
    frame = scores.add_identity(frame, shared.source_embedding, embedding, verifier.threshold)
    summary = scores.identity_summary(frame, verifier.threshold, shared.impostor, shared.genuine)
    return ScoredPairs(edits, frame, summary | scores.au_summary(frame))


def _both_readings(edits: np.ndarray, scoring: ScoringContext, split: str) -> dict[str, np.ndarray]:
    """Return the readings (N, 17) of both estimators; NaN for a second one that is not there."""
    first, second = scoring.aus(edits, f"{split} pairs"), scoring.instruments.b
    if second is None:
        return {"a": first, "b": np.full_like(first, np.nan)}
    return {"a": first, "b": scoring.aus(edits, f"{split} pairs with estimator b", second)}


def _score_pairs(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    scored = score_pairs(editor, scoring, data, third=True)
    result.add(data, scored.summary)
    if "identity/real_accuracy" not in scored.summary:
        result.skip(data, "identity", NO_SECOND_IMAGE, "real_accuracy")
    frame = _score_pixels(result, scoring, data, scored)
    result.pictures = _extremes(scoring, data, scored)
    _score_realism(result, scoring, data, scored.edits)
    _keep_pairs(result, data, frame)


def _extremes(scoring: ScoringContext, data: SplitData, scored: ScoredPairs) -> dict[str, np.ndarray]:
    truth = scoring.truth.of(data.edits, f"true {data.split} pairs")
    sources = data.sources.images[data.edits.rows]
    return extremes(scored.frame, sources, scored.edits, truth, data.split)


def _keep_pairs(result: Scores, data: SplitData, frame: pd.DataFrame) -> None:
    if f"{data.split}/au_b/mse" not in result.summary:
        result.skip(data, "au_b", NO_SECOND, "mse", "pcc", "pcc_defined", "mae", "icc")
    result.pairs[data.split] = frame


def _score_pixels(
    result: Scores, scoring: ScoringContext, data: SplitData, scored: ScoredPairs
) -> pd.DataFrame:
    """Return the pair table with its pixel columns: NaN where there is no true edit or no weight file."""
    truth = scoring.truth.of(data.edits, f"true {data.split} pairs")
    if truth is None:
        result.skip(data, "pixels", NO_TRUTH)
        return scored.frame.assign(psnr=np.nan, msssim=np.nan, lpips=np.nan, background=np.nan)
    sources, what = data.sources.images[data.edits.rows], f"compare pixels of {data.split} pairs"
    columns = scores.compare_pixels(scored.edits, truth, scoring.device, scoring.progress, what, sources)
    frame = scored.frame.assign(**columns)
    result.add(data, scores.pixel_summary(frame, data.sources.size))
    missing = pixels.lpips_missing()
    if missing:
        result.skip(data, "pixels", missing, "lpips")
    return frame


def _score_realism(result: Scores, scoring: ScoringContext, data: SplitData, edits: np.ndarray) -> None:
    """Add KID, and the same distance on EfficientNet-Lite0's features under a name of its own."""
    real = data.sources.images[data.sources.rows(data.split)]
    for names, extractor in ((KID, inception), (LITE, efficientnet)):
        few = len(real) < realism.FEWEST_REAL or len(edits) < realism.FEWEST_EDITS
        missing = extractor.missing() or (FEW_IMAGES if few else None)
        if missing:
            result.skip(data, "realism", missing, *names)
            continue
        of_real, of_edits = (
            extractor.features(images, scoring.device, scoring.progress) for images in (real, edits)
        )
        with working("computing kernel distances"):
            found = realism.kid_with_floor(of_real, of_edits, numpy_generator("kid", data.split))
        result.add(data, {f"realism/{name}": value for name, value in zip(names, found, strict=True)})


def _score_probes(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    probes, probed = probe_request(scoring.protocol, data)
    readings = scoring.aus(scoring.edits(editor, probes, f"probe {data.split} AUs"), f"{data.split} probes")
    table, drift = scores.response_table(readings, probed, data.split)
    result.response.append(table)
    lost = ~scores.read_sources(readings)
    _add_unless_unread(result, data, "drift", {"drift/off_target": drift}, lost)


def _score_control(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    ends, alphas = control_request(scoring.protocol, data)
    if not len(ends):
        result.skip(data, "control", ALL_NEUTRAL)
        return
    frames = scoring.edits(editor, path_request(ends, alphas), f"interpolate {data.split} pairs")
    readings = scoring.aus(frames, f"{data.split} interpolations")
    table = scores.control_table(readings, ends, alphas, data.split)
    result.control.append(table)
    lost = np.isnan(readings.reshape(len(ends), len(alphas), -1)).all(axis=2).any(axis=1)
    _add_unless_unread(result, data, "control", scores.control_summary(table), lost)


def _add_unless_unread(
    result: Scores, data: SplitData, group: str, values: dict[str, float], lost: np.ndarray
) -> None:
    """Add a group's metrics and how many of its requests (N,) were lost to unread faces, if any were."""
    if lost.all():
        result.skip(data, group, NOTHING_READ)
        return
    result.add(data, values | ({f"{group}/n_failed_requests": float(lost.sum())} if lost.any() else {}))


def _score_reconstruction(result: Scores, editor: Editor, scoring: ScoringContext, data: SplitData) -> None:
    """Score what a method makes of the sources when it is asked to leave them as they are.

    One that redraws the whole face can lose the person before any AU moves; these scores say how much of its
    error that is. Each source of a split counts once.
    """
    if editor.reconstruct is None:
        result.skip(data, RECONSTRUCTION, editor.no_reconstruction)
        return
    rows = np.unique(data.pairs["source_row"].to_numpy())
    try:
        images = scoring.redrawn(editor.reconstruct, data.sources, rows, f"redraw {data.split} sources")
    except UserError as refused:
        result.skip(data, RECONSTRUCTION, str(refused))
        return
    table = _reconstruction_table(images, rows, scoring, data)
    result.reconstruction.append(table)
    summary = scores.reconstruction_summary(table, data.sources.size)
    result.add(data, summary)
    for name, reason in {"lpips": pixels.lpips_missing() or "", "au_mse": NOTHING_READ}.items():
        if f"{RECONSTRUCTION}/{name}" not in summary:
            result.skip(data, RECONSTRUCTION, reason, name)


def _reconstruction_table(
    images: np.ndarray, rows: np.ndarray, scoring: ScoringContext, data: SplitData
) -> pd.DataFrame:
    """Return one line per source, redrawn as `images` (N, H, W, 3): split, source_row, source_identity,
    similarity, same, psnr, msssim, lpips, au_mse.

    `au_mse` is the squared error of estimator a's reading against the source's own AUs, mean over those it
    reads; NaN where it found no face.
    """
    originals, what = data.sources.images[rows], "compare pixels of redrawn faces"
    embedded = scoring.embed(images, "redrawn faces"), scoring.embed(originals, "their sources")
    error = scoring.aus(images, "redrawn faces").astype(np.float64) - data.sources.aus(rows)
    frame = pd.DataFrame(
        {
            "split": data.split,
            "source_row": rows,
            "source_identity": data.sources.manifest["identity"].iloc[rows].astype(str).to_numpy(),
        }
    )
    return scores.add_identity(frame, *embedded, scoring.instruments.verifier.threshold).assign(
        **scores.compare_pixels(images, originals, scoring.device, scoring.progress, what),
        au_mse=row_means(np.square(error)),
    )
