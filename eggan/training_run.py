"""One training of one method: the same for a cell, a trial, a re-run and `eggan train`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eggan.checkpoint import ModelCard, load_training_state, model_card
from eggan.data.dataset import Dataset
from eggan.distributed import leader_first
from eggan.method import BuildContext, Method, MethodEntry
from eggan.progress import progress_bar, working
from eggan.trained_networks import check_dataset, check_true_edits
from eggan.training import TrainingConfig, TrainingResult, train
from eggan.training_identity import TrainingIdentity
from eggan.training_start import Start

Log = Callable[[int, dict[str, float]], None]
Probe = Callable[[int, Method], None]


def check_data(entry: MethodEntry, config: Any, dataset: Dataset, splits: tuple[str, ...]) -> None:
    """Raise a `UserError` for a dataset that a method cannot learn from, before anything is built for it."""
    size = getattr(config, "image_size", dataset.size)
    check_dataset(entry.title, size, dataset, splits, entry.learns_from_labels)
    if entry.learns_from_true_edits:
        check_true_edits(entry.title, dataset, splits)


@dataclass(frozen=True)
class TrainingRun:
    """All that decides a training, and where it runs; `cache` holds what trainings share, such as C_id."""

    entry: MethodEntry
    config: Any
    training: TrainingConfig
    dataset: Dataset
    seed: int
    device: str
    cache: Path
    progress: Callable[..., Any] = progress_bar
    start: Start | None = None

    @property
    def card(self) -> ModelCard:
        """What the checkpoint says of itself."""
        return model_card(
            self.entry.name,
            self.entry.version,
            self.config,
            self.dataset.size,
            "" if self.start is None else self.start.sha256,
        )

    def check_earlier(self, folder: Path) -> None:
        """Refuse a training state in `folder` that is another training's; what trains is not built for it."""
        state = load_training_state(folder, "cpu")
        if state is not None:
            identity = TrainingIdentity(self.card, self.training, self.seed, self.dataset.content_hash)
            identity.check(state, folder)

    def build(self) -> Method:
        """Return the method, ready to train; a start that does not fit is a `UserError`."""
        weights = None if self.start is None else self.start.weights_for(self.entry, self.config)
        device, splits = torch.device(self.device), self.training.splits
        context = BuildContext(self.dataset, self.seed, device, self.cache, self.progress, splits)
        method = self.entry.build(self.config, context)
        if weights is not None:
            method.load_inference_weights(weights)
        return method


@dataclass(frozen=True)
class Trained:
    """A trained method. `build_seconds` is what came before the loop, such as pre-training a classifier."""

    method: Method
    result: TrainingResult
    build_seconds: float


def run_training(run: TrainingRun, folder: Path, on_log: Log, on_probe: Probe | None = None) -> Trained:
    """Build a method and train it to its budget, going on from what `folder` holds; errors as `train`."""
    run.check_earlier(folder)  # before minutes of pre-training
    started = time.monotonic()
    with working(f"building {run.entry.title}"), leader_first():
        method = run.build()
    build_seconds = time.monotonic() - started
    result = train(
        method,
        run.dataset,
        run.training,
        run.card,
        run_folder=folder,
        seed=run.seed,
        device=torch.device(run.device),
        on_log=on_log,
        on_probe=on_probe,
        progress=run.progress,
    )
    return Trained(method, result, build_seconds)
