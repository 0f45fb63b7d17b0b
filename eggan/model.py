"""EGGAN: Eq. 7 as a critic step and a main step; editing, reconstruction, and interpolation (Eq. 8)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from eggan import losses
from eggan.augment import shift_blur_noise
from eggan.aus import AU_COUNT, LEVELS
from eggan.distributed import spread_of_batch
from eggan.errors import UserError
from eggan.method import ON_A_GPU, Batch, BuildContext, EditRequest, MethodEntry, ReconstructionRequest
from eggan.model_config import (
    EGGANConfig,
    cpu_preset,
    crowd_preset,
    minutes_preset,
    paper_preset,
    quick_preset,
)
from eggan.networks import (
    Classifier,
    ClassifierFeatures,
    Encoder,
    Generator,
    ImageDiscriminator,
    ImageNetFeatures,
    LatentDiscriminator,
    channels_last,
    expected_intensity,
    parameter_count,
)
from eggan.pretraining import pretrained_identity_classifier, warm_expression_classifier
from eggan.published_weights import load_vgg19_convolutions
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    TrainedNetworks,
    adam,
    check_dataset,
    check_true_edits,
    kind_of_adversarial_step,
    no_true_edits,
    restore_for_editing,
    weighted_total,
)

VERSION = 1
WITH_TRUE_EDITS = "EGGAN with weight_true_edit"
WITHOUT_VGG19 = "set perceptual_on=c_id (what the presets cpu and quick use)"


class EGGAN(TrainedNetworks):
    """The paper's method. `c_id` and `perceptual` are frozen; without them it edits but cannot be trained."""

    def __init__(
        self,
        config: EGGANConfig,
        seed: int,
        device: torch.device,
        c_id: Classifier | None = None,
        perceptual: nn.Module | None = None,
    ) -> None:
        self.config = config
        self.c_id, self.perceptual = c_id, perceptual
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("eggan", "init", seed))
            networks = _build_networks(config)
        for network in networks.values():
            network.to(device)
        self.encoder, self.generator = networks["encoder"], networks["generator"]
        self.latent_critic, self.image_critic = networks["latent_critic"], networks["image_critic"]
        self.c_exp = networks["c_exp"]
        self.au_loss = losses.AU_LOSSES[config.au_labels]

        def optimizers() -> dict[str, torch.optim.Adam]:
            main = nn.ModuleList([self.encoder, self.generator])
            critic = nn.ModuleList([self.latent_critic, self.image_critic])
            betas = (config.beta1, config.beta2)
            return {
                "main": adam(main, config.learning_rate, betas),
                "critic": adam(critic, config.learning_rate, betas),
                "c_exp": adam(self.c_exp, config.learning_rate_cexp, betas),
            }

        edits_with = ("encoder", "generator", "c_exp")
        super().__init__("EGGAN", networks, optimizers, edits_with, "shared", averaged=edits_with[:2])

    def prepare(self, step: int) -> None:
        """Set rates and decay; after the warm-up Adam's moments of E and G start anew, if so configured."""
        config = self.config
        self.set_decay(config.ema_decay, step)
        if step < config.rec_warm_steps:
            self._set_warm_rate(step)
        if step == config.rec_warm_steps and config.moments_after_warm == "fresh":
            self.optimizers["main"].state.clear()

    def kind_of_step(self, step: int) -> str:
        """Return `warm`, `both` with a main step, or `critic` between two of these."""
        return kind_of_adversarial_step(step, self.config.rec_warm_steps, self.config.critic_steps)

    def take_step(self, batch: Batch, kind: str) -> dict[str, Tensor]:
        """One critic step and, every `critic_steps`-th time, one main step; E and G run once for both.

        The first `rec_warm_steps` steps train E and G as a plain autoencoder instead.
        Returns `loss/<term>` (raw) and `weighted/<term>` for each term of Eq. 7, and the critics' own terms.
        """
        if self.c_id is None or self.perceptual is None:
            raise UserError(
                "this EGGAN was restored for editing; it cannot be trained further without its C_id"
            )
        if self.config.weight_true_edit:
            batch = _towards_true_edits(batch)
        if kind == "warm":
            terms = self._reconstruction_step(batch)
            self.move_average()
            return {name: term.detach() for name, term in terms.items()}
        main = kind == "both"
        with torch.set_grad_enabled(main):
            latent, edit, rebuilt = self._generate(batch)
        terms = self._critic_step(batch, latent.detach(), edit.detach())
        if main:
            terms |= self._classifier_step(batch)
            terms |= self._main_step(batch, latent, edit, rebuilt)
            self.move_average()
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def edit(self, request: EditRequest) -> Tensor:
        """Return G(E(I) | u_t): (B, 3, H, W) in [-1, 1]."""
        return self.average["generator"](self.average["encoder"](request.source), request.target_aus)

    @torch.no_grad()
    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return the self-reconstruction G(E(I) | u_i): (B, 3, H, W) in [-1, 1]."""
        return self.average["generator"](self.average["encoder"](request.source), request.source_aus)

    @torch.no_grad()
    def interpolate(self, request: EditRequest, alpha: Tensor) -> Tensor:
        """Return G(E(I) | u_i + alpha (u_t - u_i)) for each alpha (K,) (Eq. 8): (B, K, 3, H, W).

        Each source is encoded once and decoded K times.
        """
        latent = self.average["encoder"](request.source)
        steps = alpha.to(latent).view(1, -1, 1)
        aus = torch.lerp(request.source_aus[:, None], request.target_aus[:, None], steps)  # (B, K, 17)
        codes = latent[:, None].expand(-1, len(alpha), -1)
        return self.average["generator"](codes.flatten(0, 1), aus.flatten(0, 1)).unflatten(0, aus.shape[:2])

    @torch.no_grad()
    def read_aus(self, images: Tensor) -> Tensor:
        """Return C_exp's own reading of images (B, 3, H, W) in [-1, 1] -> (B, 17) in [0, 5]: an alarm, no
        score.
        """
        return expected_intensity(self.c_exp.eval()(images))

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of trainable parameters by network name; an adversary of weight 0 is none."""
        unused = {
            "latent_critic": not self.config.weight_adv_z,
            "image_critic": not self.config.weight_adv_img,
        }
        return {name: parameter_count(n) for name, n in self.networks.items() if not unused.get(name)}

    def _generate(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the latent codes, the edits and the self-reconstructions: one pass of E, one of G."""
        latent = self.encoder(batch.image)
        used = self._noisy(latent, batch.generator)
        both = self.generator(torch.cat([used, used]), torch.cat([batch.target_aus, batch.aus]))
        edit, rebuilt = both.chunk(2)
        return latent, edit, rebuilt

    def _noisy(self, latent: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise of `latent_noise` times each dimension's spread over the batch."""
        if not self.config.latent_noise:
            return latent
        spread = spread_of_batch(latent)
        noise = torch.randn(latent.shape, generator=generator, device=latent.device)
        return latent + self.config.latent_noise * spread * noise

    def _set_warm_rate(self, step: int) -> None:
        """Let the rate of E and G fall from `rec_warm_learning_rate` to `learning_rate`, linearly."""
        config = self.config
        done = step / config.rec_warm_steps
        rate = (1 - done) * config.rec_warm_learning_rate + done * config.learning_rate
        self.set_rate("main", rate * self.rate_factor)

    def _reconstruction_step(self, batch: Batch) -> dict[str, Tensor]:
        """Update E and G on self-reconstruction alone: Eq. 6 and the second term of Eq. 5.

        Where true edits are learnt from, a picture of the same group takes the place of the source.
        """
        wanted, aus = batch.image, batch.aus
        if self.config.weight_true_edit:
            assert batch.true_edit is not None
            wanted, aus = batch.true_edit, batch.target_aus
        rebuilt = self.generator(self._noisy(self.encoder(batch.image), batch.generator), aus)
        terms = self._reconstruction_terms(wanted, rebuilt)
        if self.config.weight_per:
            terms["per"] = self._perceptual(wanted, None, rebuilt)
        return self._descend_weighted(terms)

    def _critic_step(self, batch: Batch, latent: Tensor, edit: Tensor) -> dict[str, Tensor]:
        """Update D_z and D_img (the max of Eq. 7); an adversary of weight 0 is left out."""
        config, generator = self.config, batch.generator
        prior = config.latent_sigma * torch.randn(latent.shape, generator=generator, device=latent.device)
        terms: dict[str, Tensor] = {}
        weighted: list[Tensor] = []
        if config.weight_adv_img:
            terms |= self._image_critic_terms(batch, edit)
            penalty = config.weight_gp * terms["critic/gradient_penalty"]
            weighted.append(config.weight_adv_img * (terms["critic/wasserstein"] + penalty))
        if config.weight_adv_z:
            terms |= self._latent_critic_terms(prior, latent, generator)
            weighted.append(config.weight_adv_z * terms["critic/latent"])
        if weighted:
            self._descend("critic", torch.stack(weighted).sum())
        return terms

    def _image_critic_terms(self, batch: Batch, edit: Tensor) -> dict[str, Tensor]:
        real_scores, fake_scores = self.image_critic(torch.cat([batch.image, edit])).chunk(2)
        points = self._penalty_points(batch.image, edit, batch.generator)
        return {
            "critic/wasserstein": losses.wasserstein_critic(real_scores, fake_scores),
            "critic/gradient_penalty": losses.gradient_penalty(self.image_critic, points),
        }

    def _latent_critic_terms(
        self, prior: Tensor, latent: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        prior_scores, code_scores = self.latent_critic(torch.cat([prior, latent])).chunk(2)
        if self.config.latent_adversary == "log":
            return {"critic/latent": losses.eq1_latent_critic(prior_scores, code_scores)}
        points = self._penalty_points(prior, latent, generator)
        penalty = losses.gradient_penalty(self.latent_critic, points)
        distance = losses.wasserstein_critic(prior_scores, code_scores)
        return {
            "critic/latent_penalty": penalty,
            "critic/latent": distance + self.config.weight_gp * penalty,
        }

    def _penalty_points(self, real: Tensor, fake: Tensor, generator: torch.Generator) -> Tensor:
        if self.config.gp_at == "real":
            return real
        t = torch.rand(len(real), generator=generator, device=real.device)
        return losses.interpolates(real, fake, t)

    def _classifier_step(self, batch: Batch) -> dict[str, Tensor]:
        """Update C_exp on real images and their own labels (Eq. 3)."""
        self.c_exp.train()
        loss = self.au_loss(self.c_exp(self._perturbed(batch.image, batch.generator)), batch.aus)
        self._descend("c_exp", loss)
        return {"c_exp/au": loss}

    def _main_step(self, batch: Batch, latent: Tensor, edit: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """Update E and G (the min of Eq. 7); critics and C_exp are held still."""
        with _frozen(self.latent_critic, self.image_critic, self.c_exp):
            return self._descend_weighted(self._main_terms(batch, latent, edit, rebuilt))

    def _descend_weighted(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update E and G on the weighted sum of `terms` (Eq. 7); return them raw, weighted and summed."""
        total, logged = weighted_total(terms, self._weights())
        self._descend("main", total)
        return logged

    def _main_terms(self, batch: Batch, latent: Tensor, edit: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms of Eq. 7 as E and G see them; terms of weight 0 are left out.

        `rec_l1` and `rec_ssim` are the two parts of Eq. 6; `rec_l1` is always there.
        """
        assert self.c_id is not None
        config = self.config
        terms: dict[str, Tensor] = {}
        seen = self._perturbed(edit, batch.generator)
        if config.weight_adv_z:
            log_form = config.latent_adversary == "log"
            latent_loss = losses.eq1_latent_generator if log_form else losses.wasserstein_generator
            terms["adv_z"] = latent_loss(self.latent_critic(latent))
        if config.weight_adv_img:
            terms["adv_img"] = losses.wasserstein_generator(self.image_critic(edit))
        if config.weight_au:
            terms["au"] = self.au_loss(self.c_exp.eval()(seen), batch.target_aus)
        if config.weight_id:
            terms["id"] = losses.eq4_identity(self.c_id(seen), batch.identity)
        terms |= self._reconstruction_terms(batch.image, rebuilt)
        if config.weight_true_edit:
            assert batch.true_edit is not None
            likeness = self._reconstruction_terms(batch.true_edit, edit)
            terms |= {name.replace("rec", "true"): term for name, term in likeness.items()}
        if config.weight_per:
            terms["per"] = self._perceptual(batch.image, edit, rebuilt)
        return terms

    def _reconstruction_terms(self, image: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        """Return the two parts of Eq. 6."""
        terms = {"rec_l1": losses.eq6_l1(rebuilt, image)}
        if self.config.weight_ssim:
            terms["rec_ssim"] = losses.eq6_ms_ssim(rebuilt, image, self.config.ms_ssim_window)
        return terms

    def _weights(self) -> dict[str, float]:
        config = self.config
        return {
            "adv_z": config.weight_adv_z,
            "adv_img": config.weight_adv_img,
            "au": config.weight_au,
            "id": config.weight_id,
            "per": config.weight_per,
            "rec_l1": config.weight_rec,
            "rec_ssim": config.weight_rec * config.weight_ssim,
            "true_l1": config.weight_true_edit,
            "true_ssim": config.weight_true_edit * config.weight_ssim,
        }

    def _perceptual(self, image: Tensor, edit: Tensor | None, rebuilt: Tensor) -> Tensor:
        """Return Eq. 5; without an edit the image is its own, at no further pass of phi."""
        assert self.perceptual is not None
        with torch.no_grad():
            source_features = self.perceptual(image)
        if edit is None:
            edit_features, rebuilt_features = source_features, self.perceptual(rebuilt)
        else:
            edit_features, rebuilt_features = self.perceptual(torch.cat([edit, rebuilt])).chunk(2)
        form = losses.eq5_perceptual if self.config.perceptual_norm == "l2" else losses.eq5_perceptual_squared
        return form(source_features, edit_features, rebuilt_features)

    def _perturbed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        config = self.config
        if config.cexp_augment == "none":
            return images
        return shift_blur_noise(
            images, generator, config.augment_shift, config.augment_blur, config.augment_noise
        )

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _build_networks(config: EGGANConfig) -> dict[str, nn.Module]:
    """Return the trained networks; those without InstanceNorm are faster in the channels-last layout."""
    return {
        "encoder": _encoder(config),
        "generator": _generator(config),
        "latent_critic": LatentDiscriminator(config.latent_dim, config.latent_critic_widths),
        "image_critic": channels_last(ImageDiscriminator(config.image_critic_channels)),
        "c_exp": channels_last(
            Classifier(config.classifier, config.classifier_width, config.image_size, AU_COUNT * LEVELS)
        ),
    }


def _encoder(config: EGGANConfig) -> Encoder:
    return channels_last(Encoder(config.image_size, config.encoder_channels, config.latent_dim))


def _generator(config: EGGANConfig) -> Generator:
    return Generator(config.image_size, config.latent_dim, config.generator_channels, config.conditioning)


def _towards_true_edits(batch: Batch) -> Batch:
    """Return the batch with the AUs of its true edits as targets; one without true edits is a `UserError`."""
    if batch.true_edit is None or batch.true_edit_aus is None:
        raise no_true_edits(WITH_TRUE_EDITS)
    return replace(batch, target_aus=batch.true_edit_aus)


@contextmanager
def _frozen(*networks: nn.Module) -> Iterator[None]:
    """Hold the weights of `networks` still: gradients flow through them, not into them."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def build(config: EGGANConfig, context: BuildContext) -> EGGAN:
    """Return an EGGAN ready to train; C_id is pre-trained here or taken from the cache."""
    check_dataset("EGGAN", config.image_size, context.dataset, context.splits, labels=False)
    if config.weight_true_edit:
        check_true_edits(WITH_TRUE_EDITS, context.dataset, context.splits)
    on_imagenet = config.weight_per > 0 and config.perceptual_on == "imagenet_vgg19"
    # Before the slow part: the file may be missing.
    convolutions = load_vgg19_convolutions(WITHOUT_VGG19) if on_imagenet else []
    c_id = channels_last(pretrained_identity_classifier(config, context))
    perceptual: nn.Module = ClassifierFeatures(c_id, config.perceptual_block)
    if on_imagenet:
        perceptual = channels_last(ImageNetFeatures(convolutions, config.perceptual_block)).to(context.device)
    perceptual.eval().requires_grad_(False)
    model = EGGAN(config, context.seed, context.device, c_id, perceptual)
    if config.cexp_warm_steps:
        model.c_exp.load_state_dict(warm_expression_classifier(config, context).state_dict())
    return model


ENTRY = MethodEntry(
    name="eggan",
    title="EGGAN",
    config=EGGANConfig,
    presets={
        "paper": paper_preset(),
        "cpu": cpu_preset(),
        "quick": quick_preset(),
        "minutes": minutes_preset(),
        "crowd": crowd_preset(),
    },
    build=build,
    restore=partial(restore_for_editing, EGGAN),
    reads=("source", "target_aus"),
    version=VERSION,
    needs={"paper": ON_A_GPU},
)
