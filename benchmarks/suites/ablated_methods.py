"""Ablations: EGGAN without one of its parts (Sec. 4.4 and Fig. 4 of the paper, and further ones), and EGGAN-W
without one of its own.

Apart from METHODS: they are these methods under changed settings, whose tests hold for them. Torch is not
imported here, so that reports can ask what a variant is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from eggan.model_config import EGGANVariantConfig

if TYPE_CHECKING:
    from eggan.method import MethodEntry

EGGAN, EGGAN_W = "eggan", "eggan-w"


@dataclass(frozen=True)
class Ablation:
    """The method `of` without one of its parts."""

    name: str
    short: str  # heading of a column of images
    what: str
    of: str = field(default=EGGAN, kw_only=True)
    in_paper: bool = field(default=False, kw_only=True)

    @property
    def title(self) -> str:
        """The display name."""
        return f"{self.short} ({self.what})"


@dataclass(frozen=True)
class Variant(Ablation):
    """An ablation by some settings, changed alike in every preset.

    `kind` is the config that has them all, None where the method's own does.
    """

    changes: Mapping[str, Any]
    kind: type | None = field(default=None, kw_only=True)

    def config(self, base: Any) -> Any:
        """Return `base`, a config of the method, with this variant's changes."""
        return (self.kind or type(base))(**(vars(base) | dict(self.changes)))


VARIANTS: tuple[Variant, ...] = (
    Variant("eggan-wtp", "E_wtP", "no perceptual loss", {"weight_per": 0.0}, in_paper=True),
    Variant("eggan-wti", "E_wtI", "no identity loss", {"weight_id": 0.0}, in_paper=True),
    Variant("eggan-wts", "E_wtS", "no MS-SSIM", {"weight_ssim": 0.0}, in_paper=True),
    Variant("eggan-no-dz", "no D_z", "no latent adversary", {"weight_adv_z": 0.0}),
    Variant("eggan-no-dimg", "no D_img", "no image adversary", {"weight_adv_img": 0.0}),
    # Of the terms that tie an image to its source by likeness (Eq. 5 and 6), the L1 norm alone is left.
    Variant(
        "eggan-l1-only",
        "L1 only",
        "neither perceptual loss nor MS-SSIM",
        {"weight_per": 0.0, "weight_ssim": 0.0},
    ),
    Variant(
        "eggan-unrounded",
        "no rounding",
        "Eq. 3 on intensities as they are",
        {"au_labels": "unrounded"},
        kind=EGGANVariantConfig,
    ),
    # Where nothing can be moved, a price on paint closes it for good within 75 steps, by Muon and by Adam.
    Variant(
        "eggan-w-no-flow",
        "no flow",
        "paints, moves nothing",
        {"flow": False, "weight_paint": 0.0},
        of=EGGAN_W,
    ),
    Variant("eggan-w-no-colour", "no colour", "moves, paints nothing", {"colour": False}, of=EGGAN_W),
    Variant(
        "eggan-w-no-disturbance",
        "undisturbed",
        "learns from renders as they are",
        {"disturb_share": 0.0},
        of=EGGAN_W,
    ),
    # Both terms look where the truth differs from the source alone: what is left weighs all pixels alike.
    Variant(
        "eggan-w-unweighted",
        "unweighted",
        "plain L1 and SSIM alone",
        {"weight_changed": 0.0, "weight_gradient": 0.0},
        of=EGGAN_W,
    ),
    Variant("eggan-w-no-gradient", "no gradient", "no gradient L1", {"weight_gradient": 0.0}, of=EGGAN_W),
    Variant("eggan-w-no-ssim", "no SSIM", "L1 and gradient L1 alone", {"weight_ssim": 0.0}, of=EGGAN_W),
    Variant("eggan-w-no-features", "no features", "no reader of AUs", {"weight_features": 0.0}, of=EGGAN_W),
    Variant(
        "eggan-w-free",
        "free parts",
        "neither smooth flow nor sparse paint",
        {"weight_rough": 0.0, "weight_paint": 0.0},
        of=EGGAN_W,
    ),
)
# Pairs are no setting: without them other losses are needed. A method of its own, beside which these stand.
UNPAIRED = Ablation("eggan-w-unpaired", "no true edits", "EGGAN's losses in their place", of=EGGAN_W)


def variants_of(method: str) -> tuple[Variant, ...]:
    """Return the variants of a method, by its name."""
    return tuple(variant for variant in VARIANTS if variant.of == method)


def ablations_of(entry: "MethodEntry") -> "Mapping[str, MethodEntry]":
    """Return the variants of `entry` by name: the same code, the same presets, changed alike."""
    return MappingProxyType(
        {
            variant.name: replace(
                entry,
                name=variant.name,
                title=variant.title,
                config=variant.kind or entry.config,
                presets={name: variant.config(preset) for name, preset in entry.presets.items()},
            )
            for variant in variants_of(entry.name)
        }
    )
