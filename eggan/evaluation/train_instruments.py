"""Training of the instruments: recipes, losses, one loop. Same recipe, seed, data and machine: same bits."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan.config import setting
from eggan.data.images import to_network_range
from eggan.errors import UserError
from eggan.evaluation.augmentation import augment
from eggan.evaluation.instrument_data import Faces
from eggan.evaluation.instruments import NETWORKS
from eggan.progress import progress_bar
from eggan.randomness import derive_seed, torch_generator

Kind = Literal["au_a", "au_b", "verifier"]


@dataclass(frozen=True)
class Recipe:
    """How one instrument is trained."""

    epochs: int = setting(18, "ours: mean PCC on validation identities is 0.93 after 3 and rises slowly")
    batch_size: int = setting(64, "ours")
    learning_rate: float = setting(1e-3, "ours")
    weight_decay: float = setting(0.02, "ours")
    warmup: float = setting(0.05, "ours: share of the steps with rising learning rate")
    ema: float = setting(0.998, "ours: decay of the averaged weights that are kept")
    precision: str = setting("bf16", "ours: as good as fp32 and twice as fast where the CPU has it")
    margin: float = setting(
        0.2, "Wang et al. 2018 (CosFace), Sec. 4.2, lowered for rendered faces; verifier only"
    )
    scale: float = setting(24.0, "Wang et al. 2018 (CosFace), Eq. 6; verifier only")

    def __post_init__(self) -> None:
        if self.precision not in ("bf16", "fp32"):
            raise ValueError(f"precision is {self.precision!r}; expected bf16 or fp32")
        if min(self.epochs, self.batch_size) < 1:
            raise ValueError("epochs and batch_size must be at least 1")


RECIPES: dict[Kind, Recipe] = {
    "au_a": Recipe(),
    "au_b": Recipe(epochs=15),
    "verifier": Recipe(epochs=5),
}


class Average:
    """Exponential moving average of weights and batch statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards `network`; early steps move faster, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self._floats(self.network), self._floats(network), strict=True):
            mine.lerp_(theirs, 1 - decay)

    def _floats(self, network: nn.Module) -> list[Tensor]:
        return [value for value in network.state_dict().values() if value.is_floating_point()]


def au_loss(reading: Tensor, aus: Tensor) -> Tensor:
    """Return the mean squared error of readings and labels, both (B, 17), in squared intensity units.

    Not an absolute error: two thirds of the labels are 0, so the median reader would learn to say 0.
    """
    return F.mse_loss(reading.float(), aus)


class MarginHead(nn.Module):
    """One unit vector per training identity; thrown away after training."""

    def __init__(self, identities: int, dimension: int, scale: float, margin: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(identities, dimension) / math.sqrt(dimension))
        self.scale, self.margin = scale, margin

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """(B, D) unit norm, (B,) -> 0-d: large-margin cosine loss (Wang et al. 2018, Eq. 4)."""
        cosine = F.linear(embedding, F.normalize(self.centres.float(), dim=1)).float()
        own = F.one_hot(identity, len(self.centres)) * self.margin
        return F.cross_entropy(self.scale * (cosine - own), identity)


class Trainable(nn.Module):
    """An instrument's network with what its loss needs beside it."""

    def __init__(self, kind: Kind, recipe: Recipe, identities: int) -> None:
        super().__init__()
        self.network = NETWORKS[kind]()
        self.margin_head: MarginHead | None = None
        if kind == "verifier":
            self.margin_head = MarginHead(identities, 128, recipe.scale, recipe.margin)

    def loss(self, images: Tensor, aus: Tensor, identity: Tensor) -> Tensor:
        """Return the 0-d training loss of a batch."""
        if self.margin_head is None:
            return au_loss(self.network(images), aus)
        return cast(Tensor, self.margin_head(self.network(images), identity))


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: linear rise, then a cosine to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def initialise(kind: Kind, recipe: Recipe, identities: int, seed: int) -> Trainable:
    """Return freshly initialised weights that depend on (kind, seed) alone; the global stream is left as
    found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("instruments", "init", kind, seed))
        return Trainable(kind, recipe, identities)


def train_instrument(
    kind: Kind,
    recipe: Recipe,
    faces: Faces,
    seed: int,
    on_epoch: Callable[[int, float, nn.Module], None] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train one instrument; return the averaged network in evaluation mode and a record (loss per epoch,
    seconds).

    `on_epoch(epoch, mean loss, averaged network)` is called after each epoch and draws nothing.
    """
    trainable = initialise(kind, recipe, int(faces.identity.max()) + 1, seed)
    trainable = trainable.to(memory_format=torch.channels_last).train()
    average = Average(trainable.network, recipe.ema)
    optimiser = _optimiser(trainable, recipe)
    per_epoch = len(faces) // recipe.batch_size
    if per_epoch == 0:
        raise UserError(f"{len(faces)} training images do not fill one batch of {recipe.batch_size}")
    started, losses = time.monotonic(), []
    progress = iter(
        progress_bar(range(recipe.epochs * per_epoch), recipe.epochs * per_epoch, f"train {kind}")
    )
    for epoch in range(recipe.epochs):
        generator = torch_generator("instruments", "epoch", kind, seed, epoch)
        order = torch.randperm(len(faces), generator=generator)[: per_epoch * recipe.batch_size]
        total = torch.zeros(())
        for rows in order.split(recipe.batch_size):
            step = next(progress)
            factor = learning_rate_factor(step, recipe.epochs * per_epoch, recipe.warmup)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * factor
            total += _update(trainable, optimiser, recipe, faces, rows, generator)
            average.update(trainable.network, step)
        losses.append(float(total) / per_epoch)
        if not math.isfinite(losses[-1]):
            raise UserError(f"training of {kind} diverged in epoch {epoch}: lower the learning rate")
        if on_epoch is not None:
            on_epoch(epoch, losses[-1], average.network.eval())
    next(progress, None)
    record = {
        "loss_per_epoch": [round(x, 5) for x in losses],
        "seconds": round(time.monotonic() - started, 1),
    }
    return average.network.eval(), record


def _update(
    trainable: Trainable,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    faces: Faces,
    rows: Tensor,
    generator: torch.Generator,
) -> Tensor:
    images = augment(to_network_range(faces.images[rows]), generator)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss = trainable.loss(images, faces.aus[rows], faces.identity[rows])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trainable.parameters(), 2.0)
    optimiser.step()
    return loss.detach()


def _optimiser(trainable: Trainable, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; vectors (norms, biases) are not decayed."""
    parameters = list(trainable.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
