"""C_id: pre-trained alone on the training identities, then frozen (Sec. 3.3); cached by content hash."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from eggan.augment import flip_some, shift_blur_noise
from eggan.checkpoint import write_safetensors
from eggan.config import content_hash
from eggan.data.dataset import to_network_range
from eggan.data.training_set import TrainingSet, load_training_set
from eggan.losses import eq4_identity
from eggan.method import BuildContext
from eggan.model_config import EGGANConfig
from eggan.networks import Classifier
from eggan.randomness import derive_seed, torch_generator

RECIPE_VERSION = 1


def identity_classifier(config: EGGANConfig, context: BuildContext) -> Classifier:
    """Return the frozen C_id of this dataset on `context.device`, from the cache or freshly trained."""
    data = load_training_set(context.dataset, context.splits, context.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("eggan", "c_id", "init", context.seed))
        network = Classifier(config.classifier, config.classifier_width, config.image_size, data.identities)
    path = context.cache / f"c_id-{_key(config, context)[:16]}.safetensors"
    if not _load(network, path):
        network.to(context.device)
        _pretrain(network, data, config, context)
        write_safetensors({k: v.cpu() for k, v in network.state_dict().items()}, path)
    return network.to(context.device).eval().requires_grad_(False)


def _key(config: EGGANConfig, context: BuildContext) -> str:
    recipe = {
        "version": RECIPE_VERSION,
        "dataset": context.dataset.content_hash,
        "splits": list(context.splits),
        "seed": context.seed,
        "classifier": [config.classifier, config.classifier_width, config.image_size],
        "training": [config.cid_epochs, config.cid_batch_size, config.cid_learning_rate],
        "augment": [config.augment_shift, config.augment_blur, config.augment_noise],
    }
    return content_hash(recipe)


def _load(network: nn.Module, path: Path) -> bool:
    """Load cached weights; an unreadable cache file is removed, since it can be made again."""
    if not path.is_file():
        return False
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError):
        path.unlink()
        return False
    return True


def _pretrain(network: Classifier, data: TrainingSet, config: EGGANConfig, context: BuildContext) -> None:
    steps_per_epoch = max(1, len(data) // config.cid_batch_size)
    steps = steps_per_epoch * config.cid_epochs
    optimizer = torch.optim.Adam(network.parameters(), lr=config.cid_learning_rate)
    network.train()
    for step in context.progress(range(steps), total=steps, description="pre-training C_id"):
        for group in optimizer.param_groups:
            group["lr"] = config.cid_learning_rate * (1 - step / steps)
        generator = torch_generator("eggan", "c_id", context.seed, step, device=context.device)
        rows = torch.randint(len(data), (config.cid_batch_size,), generator=generator, device=context.device)
        images = flip_some(to_network_range(data.images[rows]), generator)
        images = shift_blur_noise(
            images, generator, config.augment_shift, config.augment_blur, config.augment_noise
        )
        loss = eq4_identity(network(images), data.identity[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
