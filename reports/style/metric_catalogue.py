"""What things are called in a report: methods, splits, metrics with direction, unit and definition."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from benchmarks.suites import tuned_methods
from benchmarks.suites.ablated_methods import VARIANTS

Kind = Literal["method", "reference", "published"]
OUR_METHOD = "eggan"
COPY, PASSTHROUGH, ORACLE = "copy-source", "target-passthrough", "oracle"
UNREAD = "au/unread"  # key of the metric that has rows only where some edit was not read

# Order is the order of rows in every table: references that bound the problem, then methods.
METHOD_TITLES = MappingProxyType(
    {
        COPY: "Copy source",
        "mean-au": "Mean AU",
        PASSTHROUGH: "Target passthrough",
        "homointerpgan": "HomoInterpGAN",
        "stargan": "StarGAN",
        "ganimation": "GANimation",
        OUR_METHOD: "EGGAN",
        "eggan-w": "EGGAN-W",
        tuned_methods.NAME: tuned_methods.TITLE,
        **{variant.name: variant.title for variant in VARIANTS},
        ORACLE: "Oracle (rendered truth)",
    }
)
ABLATIONS = tuple(variant.name for variant in VARIANTS)
REFERENCES = (COPY, "mean-au", PASSTHROUGH, ORACLE)
SPLIT_TITLES = MappingProxyType(
    {
        "wide": "wide test split (headline)",
        "test": "test split of the paper's protocol",
        "val": "validation split",
    }
)
SPLIT_ORDER = ("wide", "test", "val")


def method_title(method: str) -> str:
    """Return the display name of a method; one that is not listed keeps its own name."""
    return METHOD_TITLES.get(method, method)


def short_title(method: str) -> str:
    """Return the name of a method for legends and panels: an ablation's without what it lacks."""
    return next((variant.short for variant in VARIANTS if variant.name == method), method_title(method))


def method_kind(method: str) -> Kind:
    """Return whether a row is a trained method or a reference without training."""
    return "reference" if method in REFERENCES else "method"


def method_rank(method: str) -> tuple[int, str]:
    """Return a sort key that puts methods in the order of `METHOD_TITLES`, unknown ones before ours."""
    order = list(METHOD_TITLES)
    return (order.index(method) if method in order else order.index(OUR_METHOD), method)


def split_title(split: str) -> str:
    """Return the display name of a split."""
    return SPLIT_TITLES.get(split, f"{split} split")


@dataclass(frozen=True)
class Metric:
    """One row of the summary: `key` as tracked (without the split), direction, unit, digits, definition."""

    key: str
    title: str
    question: str
    direction: Literal["min", "max", ""]
    digits: int
    definition: str
    unit: str = ""
    pair_column: str = ""  # where the metric is a mean over pairs, the column that holds it
    recorded_only: bool = False  # shown only where some run says something of it

    @property
    def scale(self) -> float:
        """What a mean over pairs is multiplied by: 100 for a share that is shown in percent."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def heading(self) -> str:
        """Title with unit and arrow."""
        arrow = {"min": " ↓", "max": " ↑", "": ""}[self.direction]
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}{arrow}"


RIGHT_AUS, ONLY_THOSE, CONTROL = "Right AUs", "Only those AUs", "Linear control"
SAME_PERSON, PIXELS, REALISM, COST = "Same person", "Right pixels", "Realism", "Cost"
AS_IT_IS = "Self-reconstruction"

METRICS: tuple[Metric, ...] = (
    Metric(
        "au/mse",
        "MSE, estimator A",
        RIGHT_AUS,
        "min",
        3,
        "Mean over 17 AUs of the mean squared error between target AUs and the AUs that the AU instrument "
        "(estimator A, or the one that a table names) reads from the edit (Table 1). Intensities run from 0 "
        "to 5.",
    ),
    Metric(
        "au/pcc",
        "PCC, estimator A",
        RIGHT_AUS,
        "max",
        3,
        "Mean over AUs of the Pearson correlation between target and reading over the pairs (Table 1). An "
        "AU whose target or reading does not vary has none and is left out of the mean; the table says "
        "over how many AUs the mean is taken.",
    ),
    Metric("au/mae", "MAE", RIGHT_AUS, "min", 3, "Mean absolute error, otherwise as MSE."),
    Metric(
        "au/icc",
        "ICC(3,1)",
        RIGHT_AUS,
        "max",
        3,
        "Intra-class correlation of target and reading (Shrout and Fleiss 1979), mean over AUs.",
    ),
    Metric(
        "au/skill",
        "Skill over copy-source",
        RIGHT_AUS,
        "max",
        3,
        "1 - MSE / MSE of the unedited source on the same pairs: 1 is perfect, 0 is no better than no edit.",
    ),
    Metric(
        UNREAD,
        "Edits not read",
        RIGHT_AUS,
        "min",
        1,
        "Share of pairs whose edit (or source) the AU instrument could not read: no face, or several. They "
        "are left out of every measure of AUs and stay in the others.",
        "%",
    ),
    Metric(
        "au_b/mse",
        "MSE, estimator B",
        RIGHT_AUS,
        "min",
        3,
        "As MSE, read by the second estimator (another architecture and seed).",
    ),
    Metric("au_b/pcc", "PCC, estimator B", RIGHT_AUS, "max", 3, "As PCC, read by the second estimator."),
    Metric(
        "drift/off_target",
        "Off-target drift",
        ONLY_THOSE,
        "min",
        3,
        "Single-AU probes: mean absolute change of the readings of the other 16 AUs.",
    ),
    Metric(
        "control/spearman",
        "Spearman with α",
        CONTROL,
        "max",
        3,
        "Along Eq. 8: rank correlation of the reading's progress from source to target AUs with α, mean "
        "over sequences.",
    ),
    Metric(
        "control/slope",
        "Slope over α",
        CONTROL,
        "",
        3,
        "Least-squares slope of that progress over α; 1 is exact control.",
    ),
    Metric(
        "control/monotone",
        "Monotone share",
        CONTROL,
        "max",
        3,
        "Share of interpolation steps at which the progress rises.",
    ),
    Metric(
        "identity/accuracy",
        "Accuracy",
        SAME_PERSON,
        "max",
        2,
        "Share of edits that the verifier takes for the source's identity, at a threshold fixed on real "
        "pairs of other identities (Table 2).",
        "%",
        "same",
    ),
    Metric(
        "identity/similarity",
        "Similarity",
        SAME_PERSON,
        "max",
        3,
        "Mean cosine similarity of the verifier's embeddings of source and edit.",
        "",
        "similarity",
    ),
    Metric(
        "identity/similarity_p05",
        "Similarity, 5th percentile",
        SAME_PERSON,
        "max",
        3,
        "5th percentile of that similarity over the pairs.",
    ),
    Metric(
        "pixels/lpips",
        "LPIPS",
        PIXELS,
        "min",
        3,
        "Learned perceptual distance between the edit and the rendered true edit.",
        "",
        "lpips",
    ),
    Metric(
        "pixels/psnr",
        "PSNR",
        PIXELS,
        "max",
        2,
        "Peak signal-to-noise ratio of the edit against the rendered true edit.",
        "dB",
        "psnr",
    ),
    Metric(
        "pixels/msssim_w3",
        "MS-SSIM (window 3)",
        PIXELS,
        "max",
        3,
        "Multi-scale structural similarity with the rendered true edit at 64 px. Windows of different size "
        "are not comparable.",
        "",
        "msssim",
        recorded_only=True,
    ),
    Metric(
        "pixels/msssim_w7",
        "MS-SSIM (window 7)",
        PIXELS,
        "max",
        3,
        "As above at 128 px.",
        "",
        "msssim",
        recorded_only=True,
    ),
    Metric(
        "pixels/background",
        "Background change",
        PIXELS,
        "min",
        3,
        "Mean absolute change of pixels that the true edit leaves as they are.",
        "",
        "background",
    ),
    Metric(
        "realism/kid",
        "KID",
        REALISM,
        "min",
        4,
        "Kernel inception distance of edits to real images (Binkowski et al. 2018), on torch-fidelity's port "
        "of the Inception that KID and FID were published with; meaningful only beside its floor.",
    ),
    Metric(
        "realism/kid_floor",
        "KID floor (real vs real)",
        REALISM,
        "",
        4,
        "The same distance between two halves of the real images.",
    ),
    Metric(
        "reconstruction/accuracy",
        "Redrawn: same person",
        AS_IT_IS,
        "max",
        2,
        "Share of sources that the verifier still recognises when a method is asked to leave them as they "
        "are: EGGAN and GANimation by the source's own AUs, StarGAN by its own expression, HomoInterpGAN at "
        "v = 0.",
        "%",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/similarity",
        "Redrawn: similarity",
        AS_IT_IS,
        "max",
        3,
        "Mean cosine between the embeddings of source and self-reconstruction.",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/psnr",
        "Redrawn: PSNR",
        AS_IT_IS,
        "max",
        2,
        "Peak signal-to-noise ratio of the self-reconstruction against the source, at most 60 dB.",
        "dB",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/msssim_w3",
        "Redrawn: MS-SSIM (window 3)",
        AS_IT_IS,
        "max",
        3,
        "Multi-scale structural similarity of the self-reconstruction with the source at 64 px.",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/msssim_w7",
        "Redrawn: MS-SSIM (window 7)",
        AS_IT_IS,
        "max",
        3,
        "As above at 128 px.",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/lpips",
        "Redrawn: LPIPS",
        AS_IT_IS,
        "min",
        3,
        "Learned perceptual distance between self-reconstruction and source.",
        recorded_only=True,
    ),
    Metric(
        "reconstruction/au_mse",
        "Redrawn: AU MSE",
        AS_IT_IS,
        "min",
        3,
        "Mean squared error of the AUs read from the self-reconstruction against the source's own AUs.",
        recorded_only=True,
    ),
    Metric(
        "cost/build_seconds",
        "Pre-training time",
        COST,
        "min",
        0,
        "Wall-clock seconds before the loop, such as the training of C_id; about 0 where an earlier run left "
        "its result in the cache.",
        "s",
    ),
    Metric(
        "cost/train_seconds",
        "Training time",
        COST,
        "min",
        0,
        "Wall-clock seconds of training on the machine named below.",
        "s",
    ),
    Metric(
        "cost/images_per_second",
        "Training speed",
        COST,
        "max",
        1,
        "Training images per second, pre-training excluded.",
        "images/s",
    ),
    Metric(
        "cost/edit_ms_b1",
        "Edit latency, batch 1",
        COST,
        "min",
        2,
        "Milliseconds per batch of one image.",
        "ms",
    ),
    Metric(
        "cost/edit_ms_b64",
        "Edit latency, batch 64",
        COST,
        "min",
        1,
        "Milliseconds per batch of 64 images.",
        "ms",
    ),
    Metric("cost/parameters", "Parameters", COST, "min", 0, "Trainable parameters, all networks together."),
    Metric(
        "cost/peak_memory_mib",
        "Peak memory",
        COST,
        "min",
        0,
        "Peak resident memory of the cell's process (device memory on a GPU).",
        "MiB",
    ),
)
