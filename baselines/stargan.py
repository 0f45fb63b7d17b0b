"""StarGAN (Choi et al. 2018) with one domain per expression: the target's label drives one generator.

Reference implementation: yunjey/stargan at 94dd002, called "official" below. Each expression is a domain
and any pair of domains is trained, the official RaFD mode (the EGGAN paper, Sec. 4.2: "each expression as a
transformation between two domains"). There is no intensity: all targets of one expression give one edit.

Deviations:
1. Budget, batch size and learning-rate schedule are the training loop's, equal for every method. The
   StarGAN paper decays linearly over the second half, as the loop does; the official code's decay is in
   effect none (its rate ends at 9.99e-5), which is the preset `faithful`.
2. Random flips are the training loop's (`horizontal_flip`): on for every method of the 64 px suites, off in
   the suite `paper` and by default in `eggan train`. No centre crop: images come aligned and cropped.
3. The norms keep no running statistics. The official code keeps them and never uses them: it stays in train
   mode.
4. A generator step reuses the images of the critic step before it; the generator has not changed in
   between.
5. Domains are numbered as in `EXPRESSIONS`, not alphabetically (`eggan import stargan` reorders).
6. `cpu`: 64 px, half of the width, a quarter for the critic (its weights, not its pixels, take the time on a
   CPU), and three residual blocks: at half of the side they see the same part of a face as six. The critic
   ends at 1 x 1, as in official code at 64 px.
7. `cpu`: for thousands instead of hundred thousands of steps both networks start as in EGGAN's presets:
   `warm_steps` teach the critic labels of real images and G to rebuild its input. Beside them
   `critic_init` he, `critic_steps` 3, `learning_rate` 3e-4, `weight_class` 2, `weight_reconstruction` 100.
   What was tried: docs/decisions/stargan.md.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan import losses
from eggan.aus import EXPRESSIONS
from eggan.config import setting
from eggan.errors import UserError
from eggan.method import ON_A_GPU, Batch, BuildContext, EditRequest, MethodEntry, ReconstructionRequest
from eggan.networks import InstanceNorm2d, ProductConv2d
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    TrainedNetworks,
    adam,
    check_dataset,
    check_warm_steps,
    kind_of_adversarial_step,
    restore_for_editing,
    weighted_total,
)

VERSION = 1
OFFICIAL = "yunjey/stargan 94dd002"
DOMAINS = len(EXPRESSIONS)
LEAK = 0.01


@dataclass(frozen=True)
class StarGANConfig:
    """StarGAN; the defaults are the preset `paper`."""

    image_size: int = setting(128, "StarGAN paper, Sec. 5.3; the EGGAN paper, Sec. 4.1")
    width: int = setting(64, f"{OFFICIAL}, generator", least=1)
    residual_blocks: int = setting(6, f"{OFFICIAL}, generator")
    critic_width: int = setting(64, f"{OFFICIAL}, discriminator", least=1)
    weight_class: float = setting(1.0, f"{OFFICIAL}; StarGAN paper, Sec. 3.1")
    weight_reconstruction: float = setting(10.0, f"{OFFICIAL}; StarGAN paper, Sec. 3.1")
    weight_gp: float = setting(10.0, f"{OFFICIAL}; StarGAN paper, Sec. 4")
    critic_steps: int = setting(
        5, f"{OFFICIAL}; StarGAN paper, Sec. 5.3: critic updates per generator update"
    )
    critic_init: Literal["official", "he"] = setting("official", f"{OFFICIAL}: PyTorch's defaults")
    warm_steps: int = setting(
        0, "ours: first steps train D to read labels and G to rebuild its input, each alone; 0 is official"
    )
    learning_rate: float = setting(1e-4, f"{OFFICIAL}; StarGAN paper, Sec. 5.3")
    beta1: float = setting(0.5, OFFICIAL, below=1)
    beta2: float = setting(0.999, OFFICIAL, below=1)
    schedule: Literal["shared", "last_third", "constant"] = setting(
        "shared", "StarGAN paper, Sec. 5.3: 100 epochs constant, 100 linear to zero"
    )

    def __post_init__(self) -> None:
        check_critic_size(self.image_size)
        check_steps(self.critic_steps, self.warm_steps)


def check_steps(critic_steps: int, warm_steps: int) -> None:
    """Raise ValueError where no critic step precedes a generator step, or a warm-up has negative length."""
    if critic_steps < 1:
        raise ValueError(f"critic_steps is {critic_steps}; it must be at least 1")
    check_warm_steps(warm_steps)


def check_critic_size(image_size: int) -> None:
    """Raise ValueError for an image size that `Discriminator`'s six stride-2 convolutions cannot take."""
    if image_size % 64 or image_size < 64:
        raise ValueError(f"image_size is {image_size}; the critic needs a multiple of 64")


class InstanceNormBlock(nn.Module):
    """Two 3 x 3 convolutions with instance norm and a sum, no activation after it. (B, C, H, W) -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(nn.Conv2d(width, width, 3, 1, 1, bias=False)),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + body(x)."""
        return x + self.body(x)


class Trunk(nn.Sequential):
    """Stem, two down, residual blocks, two up: (B, 3 + conditions, H, W) -> (B, width, H, W).

    Zero padding only: instance norm cancels a constant map, so a constant condition acts through the border.
    """

    def __init__(self, conditions: int, width: int, blocks: int) -> None:
        super().__init__(
            *conv_norm_relu(nn.Conv2d(3 + conditions, width, 7, 1, 3, bias=False)),
            *conv_norm_relu(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False)),
            *conv_norm_relu(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False)),
            *(InstanceNormBlock(4 * width) for _ in range(blocks)),
            *conv_norm_relu(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False)),
            *conv_norm_relu(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False)),
        )


def conv_norm_relu(conv: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    """Return the convolution followed by an affine instance norm and a ReLU."""
    return conv, InstanceNorm2d(conv.out_channels), nn.ReLU(inplace=True)


def with_condition(images: Tensor, condition: Tensor) -> Tensor:
    """Append a vector per image as constant maps: (B, 3, H, W), (B, C) -> (B, 3 + C, H, W)."""
    maps = condition[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, maps], dim=1).contiguous()


class StarGANGenerator(nn.Module):
    """G: images (B, 3, H, W) in [-1, 1] and one-hot targets (B, domains) -> edits (B, 3, H, W) in [-1, 1]."""

    def __init__(self, domains: int, width: int, blocks: int) -> None:
        super().__init__()
        self.trunk = Trunk(domains, width, blocks)
        self.image = nn.Conv2d(width, 3, 7, 1, 3, bias=False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the edits."""
        return torch.tanh(self.image(self.trunk(with_condition(images, labels))).float())


class Discriminator(nn.Module):
    """D: six stride-2 convolutions without norm, a patch critic and a head that reads the condition.

    (B, 3, S, S) -> scores (B, 1, S/64, S/64), higher = more real, and condition (B, conditions), both raw.
    """

    def __init__(self, conditions: int, width: int, image_size: int) -> None:
        super().__init__()
        widths = (3, *(width * 2**k for k in range(6)))
        self.trunk = nn.Sequential()
        for before, after in pairwise(widths):
            self.trunk.extend([ProductConv2d(before, after, 4, 2, 1), nn.LeakyReLU(LEAK, inplace=True)])
        self.score = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.condition = nn.Conv2d(widths[-1], conditions, image_size // 64, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return patch scores and the reading of the condition."""
        x = self.trunk(images)
        return self.score(x).float(), self.condition(x).flatten(1).float()

    def scores(self, images: Tensor) -> Tensor:
        """Return the patch scores alone."""
        return self.score(self.trunk(images)).float()

    def start_from_he(self) -> None:
        """Draw weights that keep the signal's variance (He et al. 2015, Eq. 14), biases 0."""
        heads = (self.score, self.condition)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                slope = 1.0 if layer in heads else LEAK
                nn.init.kaiming_normal_(layer.weight, slope, nonlinearity="leaky_relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class StarGAN(TrainedNetworks):
    """The method: `critic_steps` steps of the critic, the last of them with one of the generator."""

    def __init__(self, config: StarGANConfig, seed: int, device: torch.device) -> None:
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("stargan", "init", seed))
            self.generator = StarGANGenerator(DOMAINS, config.width, config.residual_blocks).to(device)
            self.critic = Discriminator(DOMAINS, config.critic_width, config.image_size)
            if config.critic_init == "he":
                self.critic.start_from_he()
            self.critic.to(device)
        networks = {"generator": self.generator, "critic": self.critic}
        betas = (config.beta1, config.beta2)

        def optimizers() -> dict[str, torch.optim.Adam]:
            return {name: adam(network, config.learning_rate, betas) for name, network in networks.items()}

        super().__init__("StarGAN", networks, optimizers, ("generator",), config.schedule)

    def kind_of_step(self, step: int) -> str:
        """Return `warm`, `both` where the generator's turn has come, or `critic`."""
        return kind_of_adversarial_step(step, self.config.warm_steps, self.config.critic_steps)

    def take_step(self, batch: Batch, kind: str) -> dict[str, Tensor]:
        """One critic step and, each `critic_steps`-th time, one generator step on the same batch and targets.

        Targets are the batch's own labels in a random order (official), so some equal the source's. The
        first `warm_steps` are of another kind: D reads labels of real images, G rebuilds its input.
        """
        if kind == "warm":
            return self._warm_step(batch)
        due = kind == "both"
        count, device = len(batch.image), batch.image.device
        order = torch.rand(count, generator=batch.generator, device=device).argsort()
        target = batch.expression[order]
        with torch.set_grad_enabled(due):
            edit = self.generator(batch.image, one_hot(target))
        t = torch.rand(count, generator=batch.generator, device=device)
        terms = self._critic_step(batch, edit.detach(), t)
        if due:
            terms |= self._generator_step(batch, edit, target)
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def edit(self, request: EditRequest) -> Tensor:
        """Return G(I, target expression): (B, 3, H, W) in [-1, 1]; a target without label: `UserError`."""
        # A network that is written to a file cannot look at its input and refuse it.
        if not torch.compiler.is_exporting() and (request.target_expression < 0).any():
            raise UserError("StarGAN edits to one of the 8 expressions: a target here has no label")
        return self.generator(request.source, one_hot(request.target_expression))

    @torch.no_grad()
    def interpolate(self, request: EditRequest, alpha: Tensor) -> Tensor:
        """Return frames by labels between neutral and the target's for each alpha (K,): (B, K, 3, H, W).

        Training saw no mixed label: these frames are the generator's own continuation.
        """
        ends = (
            request.target_expression.new_full((1,), EXPRESSIONS.index("neutral")),
            request.target_expression,
        )
        start, end = (one_hot(labels)[:, None] for labels in ends)
        labels = torch.lerp(start, end, alpha.to(end).view(1, -1, 1))  # (B, K, domains)
        sources = request.source.repeat_interleave(len(alpha), 0)
        return self.generator(sources, labels.flatten(0, 1)).unflatten(0, labels.shape[:2])

    @torch.no_grad()
    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return G(I, its own expression): (B, 3, H, W) in [-1, 1]; a source without label: `UserError`."""
        if (request.source_expression < 0).any():
            raise UserError("StarGAN redraws a face by its expression: a source here has no label")
        return self.generator(request.source, one_hot(request.source_expression))

    def critic_terms(self, image: Tensor, label: Tensor, edit: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Return D's unweighted terms; label: (B,) domain of `image`, t: (B,) in [0, 1] places the penalty.

        The class term is on real images only; the penalty differentiates the sum over patches, not the mean.
        One pass for real images and edits reads the critic's weights once.
        """
        scores, logits = self.critic(torch.cat([image, edit]))
        real, fake = scores.chunk(2)
        return {
            "critic/real": -real.mean(),
            "critic/fake": fake.mean(),
            "critic/class": F.cross_entropy(logits[: len(image)], label),
            "critic/gradient_penalty": losses.gradient_penalty(
                self.critic.scores, losses.interpolates(image, edit, t)
            ),
        }

    def generator_terms(
        self, image: Tensor, label: Tensor, edit: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Return G's unweighted terms; label and target: (B,) domain indices of `image` and `edit`."""
        scores, logits = self.critic(edit)
        return {
            "adversarial": losses.wasserstein_generator(scores),
            "class": F.cross_entropy(logits, target),
            "reconstruction": F.l1_loss(self.generator(edit, one_hot(label)), image),
        }

    def _warm_step(self, batch: Batch) -> dict[str, Tensor]:
        own = F.cross_entropy(self.critic(batch.image)[1], batch.expression)
        self.descend(self.config.weight_class * own, "critic")
        rebuilt = F.l1_loss(self.generator(batch.image, one_hot(batch.expression)), batch.image)
        self.descend(self.config.weight_reconstruction * rebuilt, "generator")
        return {"critic/class": own.detach(), "loss/reconstruction": rebuilt.detach()}

    def _critic_step(self, batch: Batch, edit: Tensor, t: Tensor) -> dict[str, Tensor]:
        terms = self.critic_terms(batch.image, batch.expression, edit, t)
        adversarial = terms["critic/real"] + terms["critic/fake"]
        penalty = self.config.weight_gp * terms["critic/gradient_penalty"]
        self.descend(adversarial + self.config.weight_class * terms["critic/class"] + penalty, "critic")
        return terms

    def _generator_step(self, batch: Batch, edit: Tensor, target: Tensor) -> dict[str, Tensor]:
        config = self.config
        weights = {
            "adversarial": 1.0,
            "class": config.weight_class,
            "reconstruction": config.weight_reconstruction,
        }
        terms = self.generator_terms(batch.image, batch.expression, edit, target)
        total, logged = weighted_total(terms, weights)
        self.descend(total, "generator")
        return logged


def one_hot(labels: Tensor) -> Tensor:
    """Return (B,) domain indices as float (B, domains)."""
    return (labels[:, None] == torch.arange(DOMAINS, device=labels.device)).float()


def build(config: StarGANConfig, context: BuildContext) -> StarGAN:
    """Return a StarGAN ready to train."""
    check_dataset("StarGAN", config.image_size, context.dataset, context.splits, labels=True)
    return StarGAN(config, context.seed, context.device)


PAPER = StarGANConfig()
ENTRY = MethodEntry(
    name="stargan",
    title="StarGAN",
    config=StarGANConfig,
    presets={
        "paper": PAPER,
        "faithful": replace(PAPER, schedule="constant"),
        "cpu": replace(
            PAPER,
            image_size=64,
            width=32,
            residual_blocks=3,
            critic_width=16,
            weight_class=2.0,
            weight_reconstruction=100.0,
            critic_steps=3,
            critic_init="he",
            warm_steps=300,
            learning_rate=3e-4,
        ),
    },
    build=build,
    restore=partial(restore_for_editing, StarGAN),
    reads=("source", "target_expression"),
    version=VERSION,
    learns_from_labels=True,
    needs={"paper": ON_A_GPU, "faithful": ON_A_GPU},
)
