"""Every number and every reading of the paper that EGGAN depends on, and its presets."""

from dataclasses import dataclass, replace
from typing import Literal

from eggan.config import setting

OPEN = "ours: open in the paper; "


@dataclass(frozen=True)
class EGGANConfig:
    """EGGAN (Eq. 1 to 7). The defaults are the preset `paper`."""

    image_size: int = setting(128, "paper, Sec. 4.1")
    # Networks
    latent_dim: int = setting(256, OPEN + "as wide as E's last convolution", least=1)
    encoder_channels: tuple[int, ...] = setting((16, 32, 64, 128, 256), "paper, Sec. 4.1", least=1)
    generator_channels: tuple[int, ...] = setting(
        (512, 256, 128, 64, 32, 32), OPEN + "six blocks are given, widths are not; mirrors E", least=1
    )
    conditioning: Literal["concat", "film"] = setting(
        "concat", "paper, Sec. 3.1: G employs l and u_t; the plain reading"
    )
    latent_critic_widths: tuple[int, ...] = setting((256, 128, 64, 32, 16, 1), "paper, Sec. 4.1", least=1)
    image_critic_channels: tuple[int, ...] = setting(
        (32, 64, 128, 256, 512, 1), OPEN + "six stride-2 convolutions are given, widths are not", least=1
    )
    classifier: Literal["vgg19", "narrow"] = setting("vgg19", "paper, Sec. 3.3: inspired by VGG19")
    classifier_width: float = setting(1.0, OPEN + "VGG19's own widths")
    # Eq. 7
    weight_adv_z: float = setting(1.0, "paper, Eq. 7")
    weight_adv_img: float = setting(1.0, "paper, Eq. 7")
    weight_au: float = setting(100.0, "paper, Sec. 4.1")
    weight_id: float = setting(60.0, "paper, Sec. 4.1")
    weight_per: float = setting(20.0, "paper, Sec. 4.1")
    weight_rec: float = setting(100.0, "paper, Sec. 4.1")
    weight_gp: float = setting(20.0, "paper, Sec. 4.1")
    weight_ssim: float = setting(1.0, "paper, Eq. 6; 0 is the ablation E_wtS")
    weight_true_edit: float = setting(
        0.0,
        "ours: Eq. 6 between edits and the true edits of a dataset with groups; 0 is the paper's letter",
        later=True,
    )
    # Readings
    latent_adversary: Literal["log", "wgan_gp"] = setting(
        "log", "paper, Eq. 1 as printed (adversarial autoencoder); Sec. 3.2 names WGAN-GP for the image only"
    )
    latent_sigma: float = setting(1.0, OPEN + "N(mu_z, sigma_z) of Eq. 1 as a standard normal")
    latent_noise: float = setting(
        0.0, "ours: noise on l while training, in standard deviations of the batch; 0 is the paper's letter"
    )
    gp_at: Literal["interpolates", "real"] = setting(
        "interpolates", "Gulrajani et al. 2017, Eq. 3; Eq. 2 of the paper prints `real`"
    )
    critic_steps: int = setting(1, OPEN + "critic updates per update of E and G")
    cexp_on: Literal["real"] = setting(
        "real", "ours: on generated images C_exp and G could report success together without an edit"
    )
    cexp_augment: Literal["none", "shift_blur_noise"] = setting(
        "none", "paper, Sec. 3.3; shift_blur_noise perturbs what C_exp and C_id see"
    )
    augment_shift: float = setting(2.0, "ours: pixels, for shift_blur_noise")
    augment_blur: float = setting(1.0, "ours: largest blend with the 3 x 3 mean, for shift_blur_noise")
    augment_noise: float = setting(0.1, "ours: largest standard deviation, for shift_blur_noise")
    perceptual_on: Literal["imagenet_vgg19", "c_id"] = setting("imagenet_vgg19", "paper, Sec. 3.3")
    perceptual_layer: Literal["relu1_1", "relu2_1", "relu3_1", "relu4_1"] = setting(
        "relu3_1", "ours: 'the third layer' read as the first convolution of the third block"
    )
    perceptual_norm: Literal["l2", "squared"] = setting("l2", "paper, Eq. 5 as printed")
    ms_ssim_window: int = setting(
        7, "ours: the largest odd window that pytorch-msssim takes at 128 px", least=1
    )
    # Optimisation
    learning_rate: float = setting(1e-4, "paper, Sec. 4.1: E, G, D_z, D_img")
    learning_rate_cexp: float = setting(2e-4, "paper, Sec. 4.1")
    beta1: float = setting(0.5, OPEN + "as StarGAN and GANimation", below=1)
    beta2: float = setting(0.999, OPEN + "as StarGAN and GANimation", below=1)
    ema_decay: float = setting(0.0, "ours: average of E and G used for editing; 0 switches it off")
    cid_epochs: int = setting(20, OPEN + "pre-training of C_id, Sec. 3.3")
    cexp_warm_steps: int = setting(0, "ours: steps of C_exp alone before Eq. 7; 0 is the paper's letter")
    rec_warm_steps: int = setting(
        0, "ours: first steps train E and G on reconstruction alone; 0 is the paper's letter"
    )
    rec_warm_learning_rate: float = setting(
        1e-3, "ours: of E and G at the first of those steps, falling linearly to `learning_rate`"
    )
    moments_after_warm: Literal["kept", "fresh"] = setting(
        "kept",
        "ours: `fresh` lets Adam forget its moments where Eq. 7 begins, with far larger gradients",
        later=True,
    )
    pretraining_batch_size: int = setting(32, OPEN + "pre-training of C_id", least=1)
    pretraining_learning_rate: float = setting(1e-3, OPEN + "pre-training of C_id")

    def __post_init__(self) -> None:
        if self.image_size % 64 or self.image_size < 64:
            raise ValueError(f"image_size is {self.image_size}; G's six up-samplings need a multiple of 64")
        for name, wanted in _LENGTHS.items():
            if len(getattr(self, name)) != wanted:
                raise ValueError(f"{name} must have {wanted} entries (paper, Sec. 4.1)")
        if self.latent_critic_widths[-1] != 1 or self.image_critic_channels[-1] != 1:
            raise ValueError("the last width of a discriminator must be 1: its score")
        if self.ms_ssim_window % 2 == 0 or self.image_size <= (self.ms_ssim_window - 1) * 16:
            raise ValueError(
                f"ms_ssim_window is {self.ms_ssim_window}; at {self.image_size} px it must be odd and "
                f"at most {largest_ms_ssim_window(self.image_size)}"
            )
        if self.critic_steps < 1:
            raise ValueError(f"critic_steps is {self.critic_steps}; it must be at least 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be in [0, 1)")

    @property
    def perceptual_block(self) -> int:
        """The VGG block of `perceptual_layer`, from 1."""
        return int(self.perceptual_layer[4])

    @property
    def au_labels(self) -> Literal["rounded", "unrounded"]:
        """What becomes of intensities in Eq. 3; `EGGANVariantConfig` makes a setting of it."""
        return "rounded"


@dataclass(frozen=True)
class EGGANVariantConfig(EGGANConfig):
    """EGGAN with settings that only ablations change.

    They are no fields of `EGGANConfig`, whose fields are part of the keys of finished cells.
    """

    au_labels: Literal["rounded", "unrounded"] = setting(
        "rounded", "paper, Eq. 3; `unrounded` shares an intensity between its two neighbouring levels"
    )


_LENGTHS = {
    "encoder_channels": 5,
    "generator_channels": 6,
    "latent_critic_widths": 6,
    "image_critic_channels": 6,
}


def largest_ms_ssim_window(image_size: int) -> int:
    """Return the largest odd window w with image_size > (w - 1) * 16, what pytorch-msssim demands."""
    window = (image_size - 1) // 16 + 1
    return window if window % 2 else window - 1


def paper_preset() -> EGGANConfig:
    """128 px with the paper's weights, VGG19 classifiers and ImageNet VGG19 features; needs a GPU (hours)."""
    return EGGANConfig()


def cpu_preset() -> EGGANConfig:
    """64 px with narrow networks for a CPU; perceptual loss on C_id's features.

    E and G start as an autoencoder and C_exp is warmed up on real images. Why: docs/decisions/eggan.md.
    """
    return replace(
        paper_preset(),
        image_size=64,
        generator_channels=(256, 128, 96, 64, 32, 16),
        image_critic_channels=(16, 32, 64, 128, 256, 1),
        conditioning="film",
        classifier="narrow",
        weight_au=30.0,
        weight_id=10.0,
        latent_adversary="wgan_gp",
        cexp_augment="shift_blur_noise",
        augment_shift=1.5,
        augment_blur=0.5,
        augment_noise=0.05,
        perceptual_on="c_id",
        perceptual_norm="squared",
        ms_ssim_window=3,
        learning_rate=2e-4,
        cexp_warm_steps=800,
        rec_warm_steps=1000,
        cid_epochs=8,
        ema_decay=0.995,
    )


def quick_preset() -> EGGANConfig:
    """The `cpu` networks for a few minutes of training."""
    return replace(cpu_preset(), cid_epochs=3, cexp_warm_steps=400, ema_decay=0.99)


def minutes_preset() -> EGGANConfig:
    """The `cpu` networks for three minutes of training: mostly as an autoencoder; shows that all works."""
    return replace(cpu_preset(), cid_epochs=2, rec_warm_steps=300, cexp_warm_steps=150, ema_decay=0.98)


def crowd_preset() -> EGGANConfig:
    """The `cpu` networks for SynFACS' `crowd`: 1,500 people, half of the images or more as an autoencoder.

    Chosen on validation people of the crowd: docs/decisions/eggan-crowd.md.
    """
    return replace(
        cpu_preset(),
        weight_au=40.0,
        learning_rate=3e-4,
        learning_rate_cexp=5e-4,
        cid_epochs=5,
        cexp_warm_steps=2000,
        rec_warm_steps=4000,
        moments_after_warm="fresh",
    )
