"""HomoInterpGAN (Chen et al. 2019): a reference image of the target expression moves the source's features.

Reference implementation: EnVision-Research/HomoInterpGAN at b32f4af, called "official" below. An encoder
shaped like VGG19 up to relu5_1 makes features F; the interpolator returns F + sum_k v_k T_k(F_ref - F), one
branch per attribute group and a residual branch; a decoder inverts features. The critic works on features.
No label enters an edit.

Deviations:
1. Budget and batch size are the training loop's, equal for every method.
2. Attributes are the 8 expressions of RaFD / SynFACS as one group of one-hot labels: K = 2 branches with
   the residual one. An edit uses v = 1 on the expression branch and 0 on the residual, the plain reading of
   the EGGAN paper, Sec. 4.2, which gives neither grouping nor v.
3. The decoder starts from PyTorch's defaults: the official pre-trained decoder is a download of its
   authors.
4. `encoder_init` says where the encoder starts, and with it the frozen teacher and perceptual network:
   ImageNet VGG19 (official); a VGG19 trained to tell the training identities apart, its batch norms folded
   into the convolutions; or He-normal draws. From PyTorch's defaults the features are so flat that the
   gradient penalty explodes.
5. Mirroring is the training loop's (`horizontal_flip`): on for every method of the 64 px suites, off in
   the suite `paper` and by default in `eggan train`. No crop or contrast stretch: images come aligned.
6. Other sizes than 128 px: official features at 64 px are 4 x 4, too small for the critic. It gets one
   stride-2 stage less per halving, so that it always ends at 1 x 1.
7. The critic stays in float32 under mixed precision: its instance norms see 2 x 2 maps.
8. `latent_block` 4 takes relu4_1 as features: at 64 px they are 8 x 8, as the official ones at 128 px, and
   the critic is the official one. The decoder loses its last, extra stage.
9. `warm_steps`, in place of the pre-trained decoder: encoder and decoder rebuild their input, and the critic
   reads the labels of unchanged features (its gradient reaches the encoder), at `warm_learning_rate`.
10. `cpu`: 64 px, a quarter of the width, deviations 8 and 9, He start, the loop's linear decay and, for
   thousands instead of hundred thousands of steps, `warm_steps` 600 at 1e-3, then `learning_rate` 3e-4 with
   the encoder at every step, and `weight_gp` 10. What was tried: docs/decisions/homointerpgan.md.

Not a deviation: the critic's attribute heads learn on interpolated features with the SOURCE's labels
("rigorous training"), and its adversarial head has 256 outputs, averaged in the loss and summed in the
penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.stargan import one_hot
from baselines.vgg import (
    Convolutions,
    VGGTrunk,
    from_imagenet,
    scaled,
    starting_convolutions,
    to_imagenet,
)
from eggan import losses
from eggan.aus import EXPRESSIONS
from eggan.config import SIGNED, setting
from eggan.distributed import BatchNorm2d
from eggan.errors import UserError
from eggan.method import ON_A_GPU, Batch, BuildContext, EditRequest, MethodEntry, ReconstructionRequest
from eggan.networks import InstanceNorm2d
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    TrainedNetworks,
    adam,
    check_dataset,
    check_warm_steps,
    restore_for_editing,
    weighted_total,
)

VERSION = 1
OFFICIAL = "EnVision-Research/HomoInterpGAN b32f4af"
PERCEPTUAL = 3
LEAK = 0.2


@dataclass(frozen=True)
class HomoInterpGANConfig:
    """HomoInterpGAN; the defaults are the preset `paper`. `strength` ends with the residual branch's."""

    image_size: int = setting(128, f"{OFFICIAL}; the EGGAN paper, Sec. 4.1")
    width: float = setting(1.0, f"{OFFICIAL}: VGG19's widths; scales every network")
    latent_block: int = setting(5, f"{OFFICIAL}: features are relu5_1; 4 gives relu4_1, of twice the size")
    groups: tuple[int, ...] = setting(
        (8,), "ours: the 8 expressions as one group of exclusive attributes", least=1
    )
    strength: tuple[float, ...] = setting(
        (1.0, 0.0), "ours: v of an edit; the expression branch alone", least=SIGNED
    )
    encoder_init: Literal["imagenet_vgg19", "identity_vgg19", "he"] = setting("imagenet_vgg19", OFFICIAL)
    identity_epochs: int = setting(20, "ours: as EGGAN's C_id; for encoder_init identity_vgg19")
    warm_steps: int = setting(0, "ours: first steps that rebuild and read labels; 0 is official")
    warm_learning_rate: float = setting(1e-4, "ours: of encoder, decoder and critic in those steps")
    weight_gp: float = setting(100.0, OFFICIAL)
    encoder_interval: int = setting(
        5, f"{OFFICIAL}: encoder and interpolator at steps 0, 5, 10, ...", least=1
    )
    learning_rate: float = setting(1e-4, OFFICIAL)
    beta1: float = setting(0.5, f"{OFFICIAL}: encoder, interpolator, critic", below=1)
    beta1_decoder: float = setting(0.9, f"{OFFICIAL}, issue 3: decoder and knowledge guidance", below=1)
    beta2: float = setting(0.999, OFFICIAL, below=1)
    schedule: Literal["shared", "last_third", "constant"] = setting("constant", OFFICIAL)

    def __post_init__(self) -> None:
        if self.image_size < 64 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size is {self.image_size}; it must be 64, 128, 256, ...")
        if self.latent_block not in (4, 5):
            raise ValueError(f"latent_block is {self.latent_block}; it must be 4 or 5")
        if len(self.strength) != len(self.groups) + 1:
            raise ValueError("strength needs one entry per group and one for the residual branch")
        check_warm_steps(self.warm_steps)
        if self.encoder_init == "imagenet_vgg19" and self.width != 1.0:
            raise ValueError("encoder_init imagenet_vgg19 needs width 1: choose identity_vgg19 or he")


class Interpolator(nn.Module):
    """F + sum_k v_k T_k(F_ref - F): features (B, C, h, w) twice and v (B, K) -> features. Affine in v."""

    def __init__(self, channels: int, branches: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(channels) for _ in range(branches))

    def forward(self, source: Tensor, reference: Tensor, v: Tensor) -> Tensor:
        """Return the interpolated features."""
        difference = reference - source
        for branch, strength in zip(self.branches, v.unbind(1), strict=True):
            source = source + strength[:, None, None, None] * branch(difference).float()
        return source


class Decoder(nn.Module):
    """Features (B, C, h, w) -> ImageNet-normalised images (B, 3, S, S), not clamped."""

    def __init__(self, config: HomoInterpGANConfig) -> None:
        super().__init__()
        c64, c128, c256, c512 = (scaled(width, config.width) for width in (64, 128, 256, 512))
        layers = [*_conv_norm_relu(c512, c512), *_up(c512, c256, count=4), *_up(c256, c128, count=4)]
        layers += _up(c128, c64, count=2)
        if config.latent_block == 5:
            layers += _up(c64, c64, count=1)
        self.layers = nn.Sequential(*layers, nn.Conv2d(c64, 3, 3, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the images."""
        return self.layers(features).float()


class Critic(nn.Module):
    """D on features (B, C, s, s): (B, 256) scores, higher = more real, and one (B, n) of logits per group."""

    def __init__(self, config: HomoInterpGANConfig) -> None:
        super().__init__()
        width = scaled(256, config.width)
        layers = list(_conv_in_leaky(nn.Conv2d(scaled(512, config.width), width, 1)))
        side = config.image_size >> config.latent_block - 1
        for _ in range(side.bit_length() - 2):  # down to 2 x 2; two, as the official critic, for 8 x 8
            layers += _conv_in_leaky(nn.Conv2d(width, width, 4, 2, 1))
        self.trunk = nn.Sequential(*layers, nn.Conv2d(width, width, 2))
        self.score = nn.Conv2d(width, width, 1)
        self.attributes = nn.ModuleList(nn.Conv2d(width, count, 1) for count in config.groups)

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores and logits; float32 also under autocast."""
        with torch.autocast(features.device.type, enabled=False):
            x = self.trunk(features.float())
            return self.score(x).flatten(1), [head(x).flatten(1) for head in self.attributes]


def _branch(channels: int) -> nn.Sequential:
    convs = [nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(3)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])


def _conv_norm_relu(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, 1, 1), BatchNorm2d(after), nn.ReLU()


def _up(before: int, after: int, count: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2), *_conv_norm_relu(before, after)]
    for _ in range(count - 1):
        layers += _conv_norm_relu(after, after)
    return layers


def _conv_in_leaky(conv: nn.Conv2d) -> tuple[nn.Module, ...]:
    return conv, InstanceNorm2d(conv.out_channels), nn.LeakyReLU(LEAK)


def attribute_loss(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the sigmoid cross-entropy: summed over attributes and groups, mean over B; targets in [0, 1]."""
    parts = [
        F.binary_cross_entropy_with_logits(x, t, reduction="sum")
        for x, t in zip(logits, targets, strict=True)
    ]
    return torch.stack(parts).sum() / len(logits[0])


def soft_targets(labels: Sequence[Tensor], reference: Sequence[Tensor], v: Tensor) -> list[Tensor]:
    """Return a_k + v_k (a_k' - a_k) per group: what features at v should show; labels (B, n_k), v (B, K)."""
    return [torch.lerp(a, b, v[:, k : k + 1]) for k, (a, b) in enumerate(zip(labels, reference, strict=True))]


class HomoInterpGAN(TrainedNetworks):
    """The method: decoder, critic, guidance at every step; the rest at every `encoder_interval`-th."""

    def __init__(
        self, config: HomoInterpGANConfig, seed: int, device: torch.device, start: Convolutions | None = None
    ) -> None:
        """`start` are the convolutions of `encoder_init`; without them the encoder starts from He draws."""
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("homointerpgan", "init", seed))
            self.encoder = VGGTrunk(config.latent_block, config.width).start_from(start)
            channels = scaled(512, config.width)
            self.interpolator = Interpolator(channels, len(config.strength))
            self.decoder, self.critic = Decoder(config), Critic(config)
            self.guidance = nn.Conv2d(channels, channels, 1)
            self.teacher = self.encoder.frozen_copy(config.latent_block).to(device)
            self.perceptual = self.encoder.frozen_copy(PERCEPTUAL).to(device)
        networks = {
            "encoder": self.encoder,
            "interpolator": self.interpolator,
            "decoder": self.decoder,
            "critic": self.critic,
            "guidance": self.guidance,
        }
        for network in networks.values():
            network.to(device)
        slow = ("decoder", "guidance")
        beta1 = {name: config.beta1_decoder if name in slow else config.beta1 for name in networks}

        def optimizers() -> dict[str, torch.optim.Adam]:
            return {
                name: adam(network, config.learning_rate, (beta1[name], config.beta2))
                for name, network in networks.items()
            }

        edits_with = ("encoder", "interpolator", "decoder")
        super().__init__("HomoInterpGAN", networks, optimizers, edits_with, config.schedule)

    def kind_of_step(self, step: int) -> str:
        """Return `warm`, `all` where the encoder's turn has come, or `features` for those that only see
        features.
        """
        if step < self.config.warm_steps:
            return "warm"
        return "all" if step % self.config.encoder_interval == 0 else "features"

    def take_step(self, batch: Batch, kind: str) -> dict[str, Tensor]:
        """One step of decoder, critic, guidance; every `encoder_interval`-th also of encoder, interpolator.

        References are the batch itself in a random order; v is uniform per sample and branch. The first
        `warm_steps` are of another kind: encoder and decoder rebuild, the critic reads labels.
        """
        if kind == "warm":
            return self._warm_step(batch)
        image, count, device = to_imagenet(batch.image), len(batch.image), batch.image.device
        order = torch.rand(count, generator=batch.generator, device=device).argsort()
        v = torch.rand(count, len(self.config.strength), generator=batch.generator, device=device)
        t = torch.rand(count, generator=batch.generator, device=device)
        labels = self._labels(batch)
        due = kind == "all"
        with torch.set_grad_enabled(due):
            features = self.encoder(image)
            moved = self.interpolator(features, features[order], v)
        with torch.no_grad():
            wanted_features, teacher_features = self.perceptual(image), self.teacher(image)
        self.decoder.train()
        terms = self._decoder_step(features.detach(), image, wanted_features)
        terms |= self._critic_step(features.detach(), moved.detach(), labels, t)
        terms |= self._guidance_step(features.detach(), teacher_features)
        if due:
            targets = soft_targets(labels, [label[order] for label in labels], v)
            parts = self.encoder_terms(
                features, moved, order, targets, image, wanted_features, teacher_features
            )
            total, logged = weighted_total(parts, dict.fromkeys(parts, 1.0))
            self.descend(total, "encoder", "interpolator")
            terms |= logged
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def edit(self, request: EditRequest) -> Tensor:
        """Return Dec(F + sum_k v_k T_k(F_ref - F)) with v = `strength`: (B, 3, H, W), clamped to [-1, 1]."""
        source, reference = self._features(request)
        v = torch.tensor(self.config.strength).to(source).expand(source.shape[0], -1)
        return self._moved(source, reference, v)

    @torch.no_grad()
    def interpolate(self, request: EditRequest, alpha: Tensor) -> Tensor:
        """Return the edits with v = alpha `strength` for each alpha (K,): (B, K, 3, H, W); 0 rebuilds I.

        Both images are encoded once.
        """
        count, features = len(alpha), self._features(request)
        source, reference = (part.repeat_interleave(count, 0) for part in features)
        v = alpha.to(source)[:, None] * torch.tensor(self.config.strength).to(source)
        moved = self._moved(source, reference, v.repeat(len(request.source), 1))
        return moved.unflatten(0, (-1, count))

    def _features(self, request: EditRequest) -> tuple[Tensor, ...]:
        both = torch.cat([request.source, request.reference])
        return self.encoder(to_imagenet(both)).unflatten(0, (2, -1)).unbind()

    def _moved(self, source: Tensor, reference: Tensor, v: Tensor) -> Tensor:
        return self._decode(self.interpolator(source, reference, v))

    @torch.no_grad()
    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return Dec(F), the interpolation at v = 0: (B, 3, H, W), clamped to [-1, 1]."""
        return self._decode(self.encoder(to_imagenet(request.source)))

    def _decode(self, features: Tensor) -> Tensor:
        training = self.decoder.training
        self.decoder.eval()
        images = from_imagenet(self.decoder(features)).clamp(-1, 1)
        self.decoder.train(training)
        return images

    def decoder_terms(self, features: Tensor, image: Tensor, wanted_features: Tensor) -> dict[str, Tensor]:
        """Return pixel and perceptual error of the decoded features; wanted_features: relu3_1 of `image`."""
        rebuilt = self.decoder(features)
        return {
            "reconstruction": F.mse_loss(rebuilt, image),
            "perceptual": F.mse_loss(self.perceptual(rebuilt), wanted_features),
        }

    def critic_terms(
        self, features: Tensor, moved: Tensor, labels: Sequence[Tensor], t: Tensor
    ) -> dict[str, Tensor]:
        """Return D's unweighted terms; labels are the source's ("rigorous training"), t (B,) in [0, 1]."""
        scores, logits = self.critic(moved)
        points = losses.interpolates(features, moved, t)
        return {
            "critic/wasserstein": losses.wasserstein_critic(self.critic(features)[0], scores),
            "critic/class": attribute_loss(logits, labels),
            "critic/gradient_penalty": losses.gradient_penalty(lambda x: self.critic(x)[0], points),
        }

    def encoder_terms(
        self,
        features: Tensor,
        moved: Tensor,
        order: Tensor,
        targets: Sequence[Tensor],
        image: Tensor,
        wanted_features: Tensor,
        teacher_features: Tensor,
    ) -> dict[str, Tensor]:
        """Return the terms of encoder and interpolator, each of weight 1."""
        scores, logits = self.critic(moved)
        still = features.detach()
        everything = still.new_ones(len(still), len(self.config.strength))
        return {
            "adversarial": losses.wasserstein_generator(scores),
            "class": attribute_loss(logits, targets),
            "homomorphic": F.mse_loss(self.interpolator(still, still[order], everything), still[order]),
            "guidance": F.mse_loss(self.guidance(features).float(), teacher_features),
            **self.decoder_terms(features, image, wanted_features),
        }

    def _labels(self, batch: Batch) -> tuple[Tensor, ...]:
        return one_hot(batch.expression).split(self.config.groups, dim=1)

    def _warm_step(self, batch: Batch) -> dict[str, Tensor]:
        image = to_imagenet(batch.image)
        self.decoder.train()
        with torch.no_grad():
            wanted_features = self.perceptual(image)
        faster = self.config.warm_learning_rate / self.config.learning_rate
        self.scale_learning_rate(faster, "encoder", "decoder", "critic")
        features = self.encoder(image)
        terms = self.decoder_terms(features, image, wanted_features)
        terms["class"] = attribute_loss(self.critic(features)[1], self._labels(batch))
        self.descend(torch.stack(list(terms.values())).sum(), "encoder", "decoder", "critic")
        return {f"decoder/{name}": term.detach() for name, term in terms.items()}

    def _decoder_step(self, features: Tensor, image: Tensor, wanted_features: Tensor) -> dict[str, Tensor]:
        terms = self.decoder_terms(features, image, wanted_features)
        self.descend(terms["reconstruction"] + terms["perceptual"], "decoder")
        return {f"decoder/{name}": term for name, term in terms.items()}

    def _critic_step(
        self, features: Tensor, moved: Tensor, labels: Sequence[Tensor], t: Tensor
    ) -> dict[str, Tensor]:
        terms = self.critic_terms(features, moved, labels, t)
        penalty = self.config.weight_gp * terms["critic/gradient_penalty"]
        self.descend(terms["critic/wasserstein"] + terms["critic/class"] + penalty, "critic")
        return terms

    def _guidance_step(self, features: Tensor, teacher_features: Tensor) -> dict[str, Tensor]:
        loss = F.mse_loss(self.guidance(features).float(), teacher_features)
        self.descend(loss, "guidance")
        return {"guidance/error": loss}


def build(config: HomoInterpGANConfig, context: BuildContext) -> HomoInterpGAN:
    """Return a HomoInterpGAN ready to train; a VGG19 of identities is trained or taken from the cache."""
    check_dataset("HomoInterpGAN", config.image_size, context.dataset, context.splits, labels=True)
    if sum(config.groups) != len(EXPRESSIONS):
        raise UserError(
            f"HomoInterpGAN trains on {len(EXPRESSIONS)} expressions, not on groups of {config.groups}"
        )
    kind, epochs = config.encoder_init, config.identity_epochs
    start = starting_convolutions(kind, config.image_size, config.width, epochs, context)
    return HomoInterpGAN(config, context.seed, context.device, start)


PAPER = HomoInterpGANConfig()
CPU = replace(
    PAPER,
    image_size=64,
    width=0.25,
    latent_block=4,
    encoder_init="he",
    warm_steps=600,
    warm_learning_rate=1e-3,
    weight_gp=10.0,
    encoder_interval=1,
    learning_rate=3e-4,
    schedule="shared",
)
ENTRY = MethodEntry(
    name="homointerpgan",
    title="HomoInterpGAN",
    config=HomoInterpGANConfig,
    presets={"paper": PAPER, "faithful": PAPER, "cpu": CPU},  # all numbers of `paper` are the official code's
    build=build,
    restore=partial(restore_for_editing, HomoInterpGAN),
    reads=("source", "reference"),
    version=VERSION,
    learns_from_labels=True,
    needs={"paper": ON_A_GPU, "faithful": ON_A_GPU},
)
