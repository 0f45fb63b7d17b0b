"""Classifiers trained alone on real training images before Eq. 7: C_id (Sec. 3.3), and C_exp's warm start.

Results are cached by content hash, so that methods and seeds that share a recipe share the work.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eggan.adam import Adam
from eggan.augment import flip_some, shift_blur_noise
from eggan.aus import AU_COUNT, LEVELS
from eggan.checkpoint import write_safetensors
from eggan.config import content_hash
from eggan.data.images import to_network_range
from eggan.data.training_set import TrainingSet, load_training_set
from eggan.files import announce_remaking, locked
from eggan.losses import AU_LOSSES, eq4_identity
from eggan.method import BuildContext
from eggan.model_config import EGGANConfig
from eggan.networks import Classifier, channels_last
from eggan.precision import autocast, resolve_precision
from eggan.randomness import derive_seed, torch_generator

RECIPE_VERSION = 3

LossOfRows = Callable[[Tensor, Tensor], Tensor]  # logits, row numbers -> 0-d loss


def pretrained_identity_classifier(config: EGGANConfig, context: BuildContext) -> Classifier:
    """Return the frozen C_id of this dataset on `context.device` (Eq. 4 on augmented real images)."""
    data = load_training_set(context.dataset, context.splits, context.device)
    steps = config.cid_epochs * max(1, len(data) // config.pretraining_batch_size)
    network = _pretrained(
        "c_id",
        data.identities,
        steps,
        config,
        context,
        data,
        lambda logits, rows: eq4_identity(logits, data.identity[rows]),
    )
    return network.eval().requires_grad_(False)


def warm_expression_classifier(config: EGGANConfig, context: BuildContext) -> Classifier:
    """Return C_exp after `cexp_warm_steps` on real images (Eq. 3), on `context.device`; it learns on."""
    data = load_training_set(context.dataset, context.splits, context.device)
    return _pretrained(
        "c_exp",
        AU_COUNT * LEVELS,
        config.cexp_warm_steps,
        config,
        context,
        data,
        lambda logits, rows: AU_LOSSES[config.au_labels](logits, data.aus[rows]),
    )


def _pretrained(
    name: str,
    outputs: int,
    steps: int,
    config: EGGANConfig,
    context: BuildContext,
    data: TrainingSet,
    loss: LossOfRows,
) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("eggan", name, "init", context.seed))
        network = Classifier(config.classifier, config.classifier_width, config.image_size, outputs)
    path = context.cache / f"{name}-{_key(name, steps, config, context)[:16]}.safetensors"
    if not _load(network, path):
        with locked(path.with_name(f".{path.name}.lock")):  # cells that run beside this one wait for it
            if not _load(network, path):
                if path.exists():
                    announce_remaking(path)
                channels_last(network).to(context.device)
                _pretrain(network, name, steps, config, context, data, loss)
                write_safetensors({k: v.cpu().contiguous() for k, v in network.state_dict().items()}, path)
    return network.to(context.device)


def _key(name: str, steps: int, config: EGGANConfig, context: BuildContext) -> str:
    recipe = {
        "version": RECIPE_VERSION,
        "name": name,
        "dataset": context.dataset.content_hash,
        "splits": list(context.splits),
        "seed": context.seed,
        "classifier": [config.classifier, config.classifier_width, config.image_size],
        "training": [steps, config.pretraining_batch_size, config.pretraining_learning_rate],
        "augment": _augmentation(name, config),
    }
    if name == "c_exp" and config.au_labels != "rounded":
        recipe["labels"] = config.au_labels
    return content_hash(recipe)


def _augmentation(name: str, config: EGGANConfig) -> list[float]:
    """C_id is always perturbed: a few people are told apart by single pixels. C_exp is as in Eq. 7."""
    if name == "c_exp" and config.cexp_augment == "none":
        return []
    return [config.augment_shift, config.augment_blur, config.augment_noise]


def _load(network: nn.Module, path: Path) -> bool:
    """Load cached weights; return False where there are none, or the file is not one of them."""
    try:
        kept = load_file(path)
    except (OSError, SafetensorError):
        return False
    shapes = [{name: value.shape for name, value in state.items()} for state in (kept, network.state_dict())]
    if shapes[0] != shapes[1]:  # loading would fail when it had replaced what fits
        return False
    network.load_state_dict(kept)
    return True


def _pretrain(
    network: Classifier,
    name: str,
    steps: int,
    config: EGGANConfig,
    context: BuildContext,
    data: TrainingSet,
    loss: LossOfRows,
) -> None:
    optimizer = Adam(network.parameters(), lr=config.pretraining_learning_rate, fused=True)
    network.train()
    precision = resolve_precision("auto", context.device)
    label = {"c_id": "C_id", "c_exp": "C_exp"}[name]
    for step in context.progress(range(steps), total=steps, description=f"pre-training {label}"):
        for group in optimizer.param_groups:
            group["lr"] = config.pretraining_learning_rate * (1 - step / steps)
        generator = torch_generator("eggan", name, context.seed, step, device=context.device)
        count = (config.pretraining_batch_size,)
        rows = torch.randint(len(data), count, generator=generator, device=context.device)
        images = flip_some(to_network_range(data.images[rows]), generator)
        if augmentation := _augmentation(name, config):
            images = shift_blur_noise(images, generator, *augmentation)
        with autocast(precision, context.device):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad(set_to_none=True)
        loss(logits, rows).backward()
        optimizer.step()
