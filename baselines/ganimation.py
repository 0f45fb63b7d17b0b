"""GANimation (Pumarola et al. 2018): an AU vector drives a colour image and an attention mask that blends it
in.

Reference implementation: albertpumarola/GANimation at 40da9ae, called "official" below. The edit is M *
source + (1 - M) * colour: M = 1 keeps the source (the official convention; the paper's equation is printed
the other way round). G and D are StarGAN's networks with 17 AU maps, a second head on G, and a regression
head on D.

Deviations:
1. Budget and batch size are the training loop's, equal for every method; the learning rate falls over the
   last third, as in the official 20 + 10 epochs.
2. The official code divides the condition loss by the batch size and sums the smoothness over the batch, so
   both weights mean something else at every batch size. Here they are means over the batch with the
   strength that they have at the official launch script's batch of 25; `faithful` scales with the batch in
   use.
3. The official code takes extra generator steps whenever its display is due by the wall clock: left out.
4. Random flips are the training loop's (`horizontal_flip`): on for every method of the 64 px suites, off in
   the suite `paper` and by default in `eggan train`. Images and target AUs are those of the loop's batches
   (official: redrawn with replacement).
5. A generator step reuses the images of the critic steps before it; the generator has not changed in
   between.
6. `cpu`: 64 px, half of the width, a quarter for the critic, three residual blocks, as for StarGAN, and for
   thousands instead of hundred thousands of steps its He start, `warm_steps` 300, `critic_steps` 2 and
   `learning_rate` 3e-4. What was tried: docs/decisions/ganimation.md.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.stargan import Discriminator, Trunk, check_critic_size, check_steps, with_condition
from eggan import losses
from eggan.aus import AU_COUNT, MAX_INTENSITY
from eggan.config import setting
from eggan.distributed import processes
from eggan.method import ON_A_GPU, Batch, BuildContext, EditRequest, MethodEntry, ReconstructionRequest
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    TrainedNetworks,
    adam,
    check_dataset,
    kind_of_adversarial_step,
    restore_for_editing,
    weighted_total,
)

VERSION = 1
OFFICIAL = "albertpumarola/GANimation 40da9ae"


@dataclass(frozen=True)
class GANimationConfig:
    """GANimation; the defaults are the preset `paper`. `reference_batch` 0 stands for the batch in use."""

    image_size: int = setting(128, f"{OFFICIAL}; the EGGAN paper, Sec. 4.1")
    width: int = setting(64, f"{OFFICIAL}, generator", least=1)
    residual_blocks: int = setting(6, f"{OFFICIAL}, generator")
    critic_width: int = setting(64, f"{OFFICIAL}, discriminator", least=1)
    weight_condition: float = setting(4000.0, f"{OFFICIAL}, lambda_D_cond, divided by the batch size")
    weight_gp: float = setting(10.0, f"{OFFICIAL}, lambda_D_gp")
    weight_cycle: float = setting(10.0, f"{OFFICIAL}, lambda_cyc")
    weight_mask: float = setting(0.1, f"{OFFICIAL}, lambda_mask")
    weight_smooth: float = setting(1e-5, f"{OFFICIAL}, lambda_mask_smooth (1e-4 in the paper), per batch sum")
    reference_batch: int = setting(25, f"{OFFICIAL}, launch script: the batch that the two weights are for")
    target_noise: float = setting(0.1, f"{OFFICIAL}: uniform noise on target AUs / 5, not clipped")
    critic_steps: int = setting(5, f"{OFFICIAL}: iterations per generator update")
    critic_init: Literal["official", "he"] = setting("official", f"{OFFICIAL}: N(0, 0.02)")
    warm_steps: int = setting(
        0, "ours: first steps train D to read AUs and G's colour to rebuild its input; 0 is official"
    )
    learning_rate: float = setting(1e-4, OFFICIAL)
    beta1: float = setting(0.5, OFFICIAL, below=1)
    beta2: float = setting(0.999, OFFICIAL, below=1)
    schedule: Literal["shared", "last_third", "constant"] = setting(
        "last_third", f"{OFFICIAL}: 20 epochs constant, 10 linear to zero"
    )

    def __post_init__(self) -> None:
        check_critic_size(self.image_size)
        check_steps(self.critic_steps, self.warm_steps)
        if self.reference_batch < 0:
            raise ValueError(f"reference_batch is {self.reference_batch}; 0 stands for the batch in use")


class GANimationGenerator(nn.Module):
    """G: images (B, 3, H, W) in [-1, 1], AUs / 5 (B, 17) -> colour as images, mask (B, 1, H, W) in [0, 1]."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.trunk = Trunk(AU_COUNT, width, blocks)
        self.colour = nn.Conv2d(width, 3, 7, 1, 3, bias=False)
        self.mask = nn.Conv2d(width, 1, 7, 1, 3, bias=False)

    def forward(self, images: Tensor, aus: Tensor) -> tuple[Tensor, Tensor]:
        """Return colour and mask."""
        x = self.trunk(with_condition(images, aus))
        return torch.tanh(self.colour(x).float()), torch.sigmoid(self.mask(x).float())


def composite(source: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """Return mask * source + (1 - mask) * colour."""
    return mask * source + (1 - mask) * colour


def mask_smoothness(mask: Tensor) -> Tensor:
    """Return the sum over pixels of absolute differences of horizontal and vertical neighbours, mean over B.

    mask: (B, 1, H, W) in [0, 1].
    """
    across = (mask[:, :, :, 1:] - mask[:, :, :, :-1]).abs().sum()
    down = (mask[:, :, 1:] - mask[:, :, :-1]).abs().sum()
    return (across + down) / len(mask)


class GANimation(TrainedNetworks):
    """The method: two critic steps at every step, and one of the generator at each `critic_steps`-th."""

    def __init__(self, config: GANimationConfig, seed: int, device: torch.device) -> None:
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("ganimation", "init", seed))
            self.generator = (
                GANimationGenerator(config.width, config.residual_blocks).apply(_initialise).to(device)
            )
            self.critic = Discriminator(AU_COUNT, config.critic_width, config.image_size)
            if config.critic_init == "he":
                self.critic.start_from_he()
            else:
                self.critic.apply(_initialise)
            self.critic.to(device)
        networks = {"generator": self.generator, "critic": self.critic}
        betas = (config.beta1, config.beta2)

        def optimizers() -> dict[str, torch.optim.Adam]:
            return {name: adam(network, config.learning_rate, betas) for name, network in networks.items()}

        super().__init__("GANimation", networks, optimizers, ("generator",), config.schedule)

    def kind_of_step(self, step: int) -> str:
        """Return `warm`, `both` where the generator's turn has come, or `critic`."""
        return kind_of_adversarial_step(step, self.config.warm_steps, self.config.critic_steps)

    def take_step(self, batch: Batch, kind: str) -> dict[str, Tensor]:
        """Two critic steps (scores and AUs; penalty) and, each `critic_steps`-th time, one generator step.

        Beside the loss terms it returns `mask/mean`: near 1 the method copies its source, a known failure.
        The first `warm_steps` are of another kind: D reads AUs of real images, G's colour rebuilds its input.
        """
        if kind == "warm":
            return self._warm_step(batch)
        config, device = self.config, batch.image.device
        due = kind == "both"
        source_aus = batch.aus / MAX_INTENSITY
        noise = torch.rand(source_aus.shape, generator=batch.generator, device=device) * 2 - 1
        target_aus = batch.target_aus / MAX_INTENSITY + config.target_noise * noise
        with torch.set_grad_enabled(due):
            colour, mask = self.generator(batch.image, target_aus)
            edit = composite(batch.image, colour, mask)
        t = torch.rand(len(edit), generator=batch.generator, device=device)
        terms = self._critic_steps(batch.image, source_aus, edit.detach(), t)
        terms["mask/mean"] = mask.mean()
        if due:
            terms |= self._generator_step(batch.image, source_aus, target_aus, edit, mask)
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def edit(self, request: EditRequest) -> Tensor:
        """Return the blended edit: (B, 3, H, W) in [-1, 1]."""
        return self._blend(request.source, request.target_aus)

    @torch.no_grad()
    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return the blend towards the source's own AUs: (B, 3, H, W) in [-1, 1]."""
        return self._blend(request.source, request.source_aus)

    def _blend(self, source: Tensor, aus: Tensor) -> Tensor:
        return composite(source, *self.generator(source, aus / MAX_INTENSITY))

    def critic_terms(self, image: Tensor, aus: Tensor, edit: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms of D's first step; aus: (B, 17) / 5 of `image`."""
        scores, reading = self.critic(torch.cat([image, edit]))  # one pass reads the critic's weights once
        real, fake = scores.chunk(2)
        return {
            "critic/real": -real.mean(),
            "critic/fake": fake.mean(),
            "critic/condition": F.mse_loss(reading[: len(image)], aus),
        }

    def critic_penalty(self, image: Tensor, edit: Tensor, t: Tensor) -> Tensor:
        """Return the unweighted gradient penalty of D's second step; t: (B,) in [0, 1]."""
        return losses.gradient_penalty(self.critic.scores, losses.interpolates(image, edit, t))

    def generator_terms(
        self, image: Tensor, source_aus: Tensor, target_aus: Tensor, edit: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """Return G's unweighted terms; AUs are divided by 5, `edit` and `mask` answer `target_aus`."""
        scores, reading = self.critic(edit)
        colour, cycle_mask = self.generator(edit, source_aus)
        return {
            "adversarial": losses.wasserstein_generator(scores),
            "condition": F.mse_loss(reading, target_aus),
            "cycle": F.l1_loss(composite(edit, colour, cycle_mask), image),
            "mask": mask.mean() + cycle_mask.mean(),
            "mask_smooth": mask_smoothness(mask) + mask_smoothness(cycle_mask),
        }

    def weights(self, batch_size: int) -> dict[str, float]:
        """Return the weight of each of G's terms, all of them means over the batch (deviation 2).

        `batch_size` is this process's share of the batch in use.
        """
        reference = self.config.reference_batch or batch_size * processes().count
        return {
            "adversarial": 1.0,
            "condition": self.config.weight_condition / reference,
            "cycle": self.config.weight_cycle,
            "mask": self.config.weight_mask,
            "mask_smooth": self.config.weight_smooth * reference,
        }

    def _warm_step(self, batch: Batch) -> dict[str, Tensor]:
        aus, weights = batch.aus / MAX_INTENSITY, self.weights(len(batch.image))
        own = F.mse_loss(self.critic(batch.image)[1], aus)
        self.descend(weights["condition"] * own, "critic")
        rebuilt = F.l1_loss(self.generator(batch.image, aus)[0], batch.image)
        self.descend(weights["cycle"] * rebuilt, "generator")
        return {"critic/condition": own.detach(), "loss/cycle": rebuilt.detach()}

    def _critic_steps(self, image: Tensor, aus: Tensor, edit: Tensor, t: Tensor) -> dict[str, Tensor]:
        terms = self.critic_terms(image, aus, edit)
        condition = self.weights(len(image))["condition"] * terms["critic/condition"]
        self.descend(terms["critic/real"] + terms["critic/fake"] + condition, "critic")
        penalty = self.critic_penalty(image, edit, t)
        self.descend(self.config.weight_gp * penalty, "critic")
        return terms | {"critic/gradient_penalty": penalty}

    def _generator_step(
        self, image: Tensor, source_aus: Tensor, target_aus: Tensor, edit: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        weights = self.weights(len(image))
        terms = self.generator_terms(image, source_aus, target_aus, edit, mask)
        total, logged = weighted_total(terms, weights)
        self.descend(total, "generator")
        return logged


def _initialise(module: nn.Module) -> None:
    """Draw a convolution's weights from N(0, 0.02) and set its bias to 0 (official)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(config: GANimationConfig, context: BuildContext) -> GANimation:
    """Return a GANimation ready to train."""
    check_dataset("GANimation", config.image_size, context.dataset, context.splits, labels=False)
    return GANimation(config, context.seed, context.device)


PAPER = GANimationConfig()
ENTRY = MethodEntry(
    name="ganimation",
    title="GANimation",
    config=GANimationConfig,
    presets={
        "paper": PAPER,
        "faithful": replace(PAPER, reference_batch=0),
        "cpu": replace(
            PAPER,
            image_size=64,
            width=32,
            residual_blocks=3,
            critic_width=16,
            critic_init="he",
            warm_steps=300,
            critic_steps=2,
            learning_rate=3e-4,
        ),
    },
    build=build,
    restore=partial(restore_for_editing, GANimation),
    reads=("source", "target_aus"),
    version=VERSION,
    needs={"paper": ON_A_GPU, "faithful": ON_A_GPU},
)
