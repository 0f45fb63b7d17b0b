"""Ablations: EGGAN without one of its parts (Sec. 4.4 and Fig. 4 of the paper, and further ones).

Apart from METHODS: they are EGGAN under changed settings, and its tests hold for them. Torch is not imported
here, so that reports can ask what a variant is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from eggan.model_config import EGGANConfig, EGGANVariantConfig

if TYPE_CHECKING:
    from eggan.method import MethodEntry


@dataclass(frozen=True)
class Variant:
    """EGGAN with some settings changed, the same in every preset; `kind` is the config that has them all."""

    name: str
    short: str  # heading of a column of images
    what: str
    changes: Mapping[str, Any]
    in_paper: bool = False
    kind: type[EGGANConfig] = EGGANConfig

    @property
    def title(self) -> str:
        """The display name."""
        return f"{self.short} ({self.what})"

    def config(self, base: EGGANConfig) -> EGGANConfig:
        """Return `base` with this variant's changes."""
        return self.kind(**(vars(base) | dict(self.changes)))


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
)


def ablations_of(entry: "MethodEntry") -> "Mapping[str, MethodEntry]":
    """Return the variants of `entry`, EGGAN's, by name: the same code, the same presets, changed alike."""
    return MappingProxyType(
        {
            variant.name: replace(
                entry,
                name=variant.name,
                title=variant.title,
                config=variant.kind,
                presets={name: variant.config(preset) for name, preset in entry.presets.items()},
            )
            for variant in VARIANTS
        }
    )
