"""Small stand-ins for tests: a dataset that is drawn in milliseconds and a narrow EGGAN."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from eggan.aus import AU_COLUMNS, EXPRESSIONS
from eggan.data.dataset import Dataset, load_dataset, write_dataset
from eggan.method import BuildContext
from eggan.model_config import EGGANConfig, quick_preset


def tiny_dataset(
    folder: Path,
    identities: int = 4,
    per_identity: int = 4,
    size: int = 64,
    test: int = 1,
    colours: int = 0,
    grouped: bool = False,
) -> Dataset:
    """Grey faces in a colour of their identity; AU12 widens a bright bar, AU1 raises a dark one.

    Pictures of one identity differ in their AUs alone: `grouped` says so in the manifest.
    """
    rng = np.random.default_rng(colours)
    rows, images = [], []
    for identity in range(identities):
        colour = rng.uniform(60, 200, 3)
        for k in range(per_identity):
            aus = np.zeros(17)
            aus[[0, 8]] = rng.integers(0, 6, 2)
            rows.append([f"id{identity:02d}", EXPRESSIONS[k % 8], "frontal", *aus])
            images.append(_draw(colour, aus, size))
    manifest = pd.DataFrame(rows, columns=["identity", "expression", "gaze", *AU_COLUMNS])
    split = ["test" if int(name[2:]) >= identities - test else "train" for name in manifest["identity"]]
    manifest = manifest.assign(
        split=split, label_tool="drawn", label_version="1", confidence=1.0, source_file=""
    )
    if grouped:
        manifest = manifest.assign(edit_group=manifest["identity"].str[2:].astype(np.int64))
    write_dataset(folder, "tiny", manifest, np.stack(images), 0, {}, "1")
    return load_dataset(folder)


def _draw(colour: np.ndarray, aus: np.ndarray, size: int) -> np.ndarray:
    image = np.broadcast_to(colour, (size, size, 3)).astype(np.uint8).copy()
    middle, half, brow = size // 2, 4 + 4 * int(aus[8]), size // 3 - 3 * int(aus[0])
    image[3 * size // 4 : 3 * size // 4 + 6, middle - half : middle + half] = 250
    image[brow : brow + 5, size // 4 : 3 * size // 4] = 10
    return image


def narrow_config(**changes) -> EGGANConfig:
    """An EGGAN of a few ten thousand parameters at 64 px."""
    base = replace(
        quick_preset(),
        latent_dim=16,
        encoder_channels=(4, 8, 8, 16, 16),
        generator_channels=(16, 16, 8, 8, 8, 4),
        latent_critic_widths=(8, 8, 8, 8, 8, 1),
        image_critic_channels=(4, 8, 8, 8, 8, 1),
        classifier_width=0.25,
        cid_epochs=2,
        cexp_warm_steps=0,
        rec_warm_steps=0,
        latent_adversary="log",
        ema_decay=0.0,
        pretraining_batch_size=4,
    )
    return replace(base, **changes)


def context(dataset: Dataset, cache: Path, seed: int = 0, device: str = "cpu") -> BuildContext:
    return BuildContext(
        dataset=dataset,
        seed=seed,
        device=torch.device(device),
        cache=cache,
        progress=lambda items, total, description: items,
    )
