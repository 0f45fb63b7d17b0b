"""EGGAN-W without true edits: EGGAN's losses on the generator that moves and paints the source's own pixels.

It says what the pairs do for EGGAN-W and what the generator does for EGGAN: the network is `eggan.warp`'s,
the losses are Eq. 2 to 6 of the paper, and no true edit is looked at. Per step, the critic, then C_exp, then
the editor:

    D_img   Eq. 2 (WGAN-GP) on sources and edits        C_exp   Eq. 3 on real pictures and their labels
    editor  adv_img + au (Eq. 3 of the edit) + id (Eq. 4, frozen C_id) + per (Eq. 5) + rec (Eq. 6)

Left out of Eq. 7 is Eq. 1: this generator has no latent code. Added are EGGAN-W's smooth flow and sparse
paint: nothing else says which of the many warps of smooth skin is meant. There is no cycle and no warm-up as
an autoencoder: at the start the edit is the source, so that Eq. 6 holds before the first step. What was
tried: docs/decisions/eggan-w.md.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from eggan import losses
from eggan.augment import shift_blur_noise
from eggan.aus import AU_COUNT, LEVELS
from eggan.config import setting
from eggan.method import ON_A_GPU, Batch, BuildContext, MethodEntry
from eggan.model_config import OPEN, EGGANConfig
from eggan.networks import (
    Classifier,
    ClassifierFeatures,
    ImageDiscriminator,
    channels_last,
    expected_intensity,
)
from eggan.pretraining import pretrained_identity_classifier, warm_expression_classifier
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    adam,
    check_dataset,
    restore_for_editing,
    weighted_total,
)
from eggan.warp import FLOW_UNIT, Editor, Parts, WarpConfig, Warps, compose

VERSION = 1
AS_EGGAN_W = "ours: as EGGAN-W"
AS_CROWD = "ours: as EGGAN's preset `crowd`"
PERCEPTUAL_BLOCK = 3  # of C_id, whose features Eq. 5 compares, as in EGGAN's presets for a CPU


@dataclass(frozen=True)
class UnpairedConfig:
    """EGGAN-W without true edits; the defaults are the preset `paper`, at the paper's image size."""

    image_size: int = setting(128, "paper, Sec. 4.1", least=1)
    # Networks
    reduction: int = setting(4, AS_EGGAN_W, least=1)
    channels: tuple[int, ...] = setting((40, 64, 96, 128), AS_EGGAN_W, least=1)
    blocks: int = setting(2, AS_EGGAN_W)
    detail_channels: int = setting(16, AS_EGGAN_W)
    embedding: int = setting(128, AS_EGGAN_W, least=1)
    image_critic_channels: tuple[int, ...] = setting((32, 64, 128, 256, 512, 1), OPEN + "as EGGAN", least=1)
    classifier: Literal["vgg19", "narrow"] = setting("vgg19", "paper, Sec. 3.3: inspired by VGG19")
    classifier_width: float = setting(1.0, OPEN + "VGG19's own widths")
    # Losses
    weight_adv_img: float = setting(5.0, "ours: with the paper's 1 skin is tinted to please C_exp")
    weight_au: float = setting(40.0, AS_CROWD)
    weight_id: float = setting(10.0, AS_CROWD)
    weight_per: float = setting(20.0, "paper, Sec. 4.1")
    weight_rec: float = setting(100.0, "paper, Sec. 4.1")
    weight_ssim: float = setting(1.0, "paper, Eq. 6")
    weight_gp: float = setting(20.0, "paper, Sec. 4.1")
    weight_rough: float = setting(20.0, "ours: with 1 the flow zigzags from pixel to pixel")
    weight_paint: float = setting(10.0, "ours: with 1 or 3 a sixth of each pixel is painted, a tint")
    ms_ssim_window: int = setting(
        7, "ours: the largest odd window that pytorch-msssim takes at 128 px", least=1
    )
    augment_shift: float = setting(1.5, AS_CROWD + ": pixels, of what the classifiers see")
    augment_blur: float = setting(0.5, AS_CROWD)
    augment_noise: float = setting(0.05, AS_CROWD)
    # Optimisation
    learning_rate: float = setting(3e-4, AS_CROWD)
    learning_rate_cexp: float = setting(5e-4, AS_CROWD)
    beta1: float = setting(0.5, OPEN + "as StarGAN and GANimation", below=1)
    beta2: float = setting(0.999, OPEN + "as StarGAN and GANimation; critic and C_exp", below=1)
    beta2_editor: float = setting(0.99, AS_EGGAN_W, below=1)
    clip_norm: float = setting(1.0, AS_EGGAN_W + ": of the editor's gradient; without it the flow ran away")
    ema_decay: float = setting(0.995, AS_CROWD)
    cid_epochs: int = setting(5, AS_CROWD)
    cexp_warm_steps: int = setting(2000, AS_CROWD)
    pretraining_batch_size: int = setting(32, OPEN + "pre-training of C_id", least=1)
    pretraining_learning_rate: float = setting(1e-3, OPEN + "pre-training of C_id")

    def __post_init__(self) -> None:
        self.network()
        self.classifiers()

    def network(self) -> WarpConfig:
        """Return what the editor is built from; all that is not set here is EGGAN-W's."""
        return WarpConfig(
            image_size=self.image_size,
            reduction=self.reduction,
            channels=self.channels,
            blocks=self.blocks,
            detail_channels=self.detail_channels,
            embedding=self.embedding,
            ema_decay=self.ema_decay,
        )

    def classifiers(self) -> EGGANConfig:
        """Return what C_id and C_exp are pre-trained by; EGGAN of these settings shares them."""
        return EGGANConfig(
            image_size=self.image_size,
            classifier=self.classifier,
            classifier_width=self.classifier_width,
            image_critic_channels=self.image_critic_channels,
            ms_ssim_window=self.ms_ssim_window,
            cexp_augment="shift_blur_noise",
            augment_shift=self.augment_shift,
            augment_blur=self.augment_blur,
            augment_noise=self.augment_noise,
            cid_epochs=self.cid_epochs,
            cexp_warm_steps=self.cexp_warm_steps,
            pretraining_batch_size=self.pretraining_batch_size,
            pretraining_learning_rate=self.pretraining_learning_rate,
        )


class UnpairedEGGANW(Warps):
    """The method. `c_id` is frozen; without it (restored for editing) it edits but cannot be trained."""

    def __init__(
        self, config: UnpairedConfig, seed: int, device: torch.device, c_id: Classifier | None = None
    ) -> None:
        self.config, self.c_id = config, c_id
        self.perceptual = None if c_id is None else ClassifierFeatures(c_id, PERCEPTUAL_BLOCK)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("eggan-w-unpaired", "init", seed))
            self.editor = channels_last(Editor(config.network())).to(device)
            self.image_critic = channels_last(ImageDiscriminator(config.image_critic_channels)).to(device)
            self.c_exp = channels_last(_expression_classifier(config)).to(device)
        networks: dict[str, nn.Module] = {
            "editor": self.editor,
            "image_critic": self.image_critic,
            "c_exp": self.c_exp,
        }
        betas = (config.beta1, config.beta2)

        def optimizers() -> dict[str, torch.optim.Adam]:
            editor = adam(self.editor, config.learning_rate, (config.beta1, config.beta2_editor))
            # after the gradients of all processes came together
            editor.register_step_pre_hook(lambda *_: self._clip_gradient())
            return {
                "editor": editor,
                "image_critic": adam(self.image_critic, config.learning_rate, betas),
                "c_exp": adam(self.c_exp, config.learning_rate_cexp, betas),
            }

        title = "EGGAN-W without true edits"
        super().__init__(title, networks, optimizers, ("editor", "c_exp"), "shared", averaged=("editor",))

    def prepare(self, step: int) -> None:
        """Set the decay of the average."""
        self.set_decay(self.config.ema_decay, step)

    def take_step(self, batch: Batch, _kind: str) -> dict[str, Tensor]:
        """One step of the critic, of C_exp and of the editor; the true edits of the batch are not looked at.

        Returns `loss/<term>` (raw) and `weighted/<term>` for each of the editor's terms, and the others' own.
        """
        source = batch.image
        both = self.editor(torch.cat([source, source]), torch.cat([batch.target_aus, batch.aus]))
        edit, rebuilt = compose(both).chunk(2)
        terms = self._critic_step(batch, edit.detach()) | self._classifier_step(batch)
        total, logged = weighted_total(self._editor_terms(batch, both, edit, rebuilt), self._weights())
        self.descend(total, "editor")
        self.move_average()
        return {name: term.detach() for name, term in (terms | logged).items()}

    @torch.no_grad()
    def read_aus(self, images: Tensor) -> Tensor:
        """Return C_exp's own reading of images (B, 3, H, W) in [-1, 1] -> (B, 17) in [0, 5]: an alarm, no
        score.
        """
        return expected_intensity(self.c_exp.eval()(images))

    def _clip_gradient(self) -> None:
        nn.utils.clip_grad_norm_(self.editor.parameters(), self.config.clip_norm)

    def _critic_step(self, batch: Batch, edit: Tensor) -> dict[str, Tensor]:
        """Update D_img (Eq. 2)."""
        real_scores, fake_scores = self.image_critic(torch.cat([batch.image, edit])).chunk(2)
        t = torch.rand(len(edit), generator=batch.generator, device=edit.device)
        terms = {
            "critic/wasserstein": losses.wasserstein_critic(real_scores, fake_scores),
            "critic/gradient_penalty": losses.gradient_penalty(
                self.image_critic, losses.interpolates(batch.image, edit, t)
            ),
        }
        penalty = self.config.weight_gp * terms["critic/gradient_penalty"]
        self.descend(terms["critic/wasserstein"] + penalty, "image_critic")
        return terms

    def _classifier_step(self, batch: Batch) -> dict[str, Tensor]:
        """Update C_exp on real pictures and their own labels (Eq. 3)."""
        self.c_exp.train()
        loss = losses.eq3_au(self.c_exp(self._perturbed(batch.image, batch.generator)), batch.aus)
        self.descend(loss, "c_exp")
        return {"c_exp/au": loss}

    def _editor_terms(self, batch: Batch, both: Parts, edit: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """Return the editor's unweighted terms; `both` are the parts of the edits, then of the rebuilt."""
        assert self.c_id is not None
        assert self.perceptual is not None
        source, seen = batch.image, self._perturbed(edit, batch.generator)
        with torch.no_grad():
            source_features = self.perceptual(source)
        edit_features, rebuilt_features = self.perceptual(torch.cat([edit, rebuilt])).chunk(2)
        return {
            "adv_img": losses.wasserstein_generator(self.image_critic(edit)),
            "au": losses.eq3_au(self.c_exp.eval()(seen), batch.target_aus),
            "id": losses.eq4_identity(self.c_id(seen), batch.identity),
            "per": losses.eq5_perceptual_squared(source_features, edit_features, rebuilt_features),
            "rec_l1": losses.eq6_l1(rebuilt, source),
            "rec_ssim": losses.eq6_ms_ssim(rebuilt, source, self.config.ms_ssim_window),
            "rough": losses.flow_roughness(both.flow / FLOW_UNIT),
            "paint": both.paint.mean(),
        }

    def _weights(self) -> dict[str, float]:
        config = self.config
        return {
            "adv_img": config.weight_adv_img,
            "au": config.weight_au,
            "id": config.weight_id,
            "per": config.weight_per,
            "rec_l1": config.weight_rec,
            "rec_ssim": config.weight_rec * config.weight_ssim,
            "rough": config.weight_rough,
            "paint": config.weight_paint,
        }

    def _perturbed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        config = self.config
        return shift_blur_noise(
            images, generator, config.augment_shift, config.augment_blur, config.augment_noise
        )


def _expression_classifier(config: UnpairedConfig) -> Classifier:
    return Classifier(config.classifier, config.classifier_width, config.image_size, AU_COUNT * LEVELS)


def build(config: UnpairedConfig, context: BuildContext) -> UnpairedEGGANW:
    """Return the method ready to train; C_id and C_exp are pre-trained here or taken from the cache."""
    check_dataset("EGGAN-W", config.image_size, context.dataset, context.splits, labels=False)
    classifiers = config.classifiers()
    c_id = channels_last(pretrained_identity_classifier(classifiers, context))
    model = UnpairedEGGANW(config, context.seed, context.device, c_id)
    if config.cexp_warm_steps:
        model.c_exp.load_state_dict(warm_expression_classifier(classifiers, context).state_dict())
    return model


PAPER = UnpairedConfig()
CPU = replace(
    PAPER,
    image_size=64,
    reduction=2,
    image_critic_channels=(16, 32, 64, 128, 256, 1),
    classifier="narrow",
    ms_ssim_window=3,
)
ENTRY = MethodEntry(
    name="eggan-w-unpaired",
    title="EGGAN-W (no true edits)",
    config=UnpairedConfig,
    presets={"paper": PAPER, "cpu": CPU},
    build=build,
    restore=partial(restore_for_editing, UnpairedEGGANW),
    reads=("source", "target_aus"),
    version=VERSION,
    needs={"paper": ON_A_GPU},
)
