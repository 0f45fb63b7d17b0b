"""The contract of a method: what it is given, what it must do, what it never owns.

A method learns from a dataset and edits faces. It owns its networks and optimisers; it owns no loop, no
logger and no file. The loop is `eggan.training`, the METHODS table is `benchmarks.suites.methods`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from eggan.config import from_dict

if TYPE_CHECKING:
    from eggan.checkpoint import Checkpoint
    from eggan.data.dataset import Dataset
    from eggan.warp import Parts


@dataclass(frozen=True)
class Batch:
    """One training batch; batch k of a run is a function of (seed, k) alone.

    Source and target rows are both training images; the target is drawn independently of the source. Where
    the dataset has groups of true edits, `true_edit` is the source picture with other AUs (now and then the
    same); EGGAN looks at it where `weight_true_edit` is set, the baselines do not.
    """

    image: Tensor  # (B, 3, H, W) float in [-1, 1]
    aus: Tensor  # (B, 17) in [0, 5]
    identity: Tensor  # (B,) int64, 0 .. number of training identities - 1
    expression: Tensor  # (B,) int64, index in EXPRESSIONS, -1 where the dataset names no expression
    target_image: Tensor  # as image
    target_aus: Tensor  # as aus
    target_expression: Tensor  # as expression
    generator: torch.Generator  # on the batch's device, keyed by (seed, k): for every draw inside the step
    true_edit: Tensor | None = None  # as image; None where the dataset has no groups
    true_edit_aus: Tensor | None = None  # as aus: what true_edit shows


@dataclass(frozen=True)
class EditRequest:
    """What an edit may read. Each method says which of these it reads (`MethodEntry.reads`)."""

    source: Tensor  # (B, 3, H, W) float in [-1, 1]
    source_aus: Tensor  # (B, 17) in [0, 5]
    target_aus: Tensor  # (B, 17) in [0, 5]
    target_expression: Tensor  # (B,) int64 index in EXPRESSIONS, -1 where there is none
    reference: Tensor  # (B, 3, H, W): the target image (another person with the target AUs)


@dataclass(frozen=True)
class ReconstructionRequest:
    """What a self-reconstruction may read: faces, and what they show already."""

    source: Tensor  # (B, 3, H, W) float in [-1, 1]
    source_aus: Tensor  # (B, 17) in [0, 5]
    source_expression: Tensor  # (B,) int64 index in EXPRESSIONS, -1 where there is none


@runtime_checkable
class Reconstructs(Protocol):
    """What a `Method` offers too where it can be asked for no change; scored as a row of its own."""

    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return the faces as the method redraws them, unedited; range, gradient and mode as for `edit`.

        A request that it cannot answer (a missing label) is a `UserError`: the row then is not measured.
        """
        ...


@runtime_checkable
class EditsLarge(Protocol):
    """What a `Method` offers too where its edits can be composed at a photograph's own size."""

    def parts(self, source: Tensor, target_aus: Tensor) -> "Parts":
        """Return the parts of the edits of pictures (B, 3, H, W) at the method's own size; gradient and mode
        as for `edit`.
        """
        ...


@runtime_checkable
class Method(Protocol):
    """A trainable method; it may also be one that `Reconstructs`."""

    def update(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Change the method's own weights once; return raw and weighted loss terms, detached, on the device.

        Must not synchronise with the host (`.item()`, `.cpu()`, `float(tensor)`).
        """
        ...

    def set_learning_rate(self, factor: float) -> None:
        """Set every optimiser's learning rate to `factor` times its configured value."""
        ...

    def edit(self, request: EditRequest) -> Tensor:
        """Return the edited images (B, 3, H, W) in [-1, 1]; no gradient, evaluation mode, mode restored."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything that training needs to go on: loads with `weights_only=True`."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; a state of another shape or version raises `UserError`."""
        ...

    def inference_weights(self) -> dict[str, Tensor]:
        """Return the tensors that `edit` needs, for a safetensors file."""
        ...

    def load_inference_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore `inference_weights()`."""
        ...

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of trainable parameters by network name."""
        ...


@dataclass(frozen=True)
class BuildContext:
    """What a method may use while it is built; `dataset` only through its training rows, those of `splits`.

    `cache` is a folder for content-addressed things shared between runs (a pre-trained C_id, for example).
    `progress` makes a progress bar around an iterable: `progress(iterable, total, description)`.
    """

    dataset: "Dataset"
    seed: int
    device: torch.device
    cache: Path
    progress: Callable[..., Any]
    splits: tuple[str, ...] = ("train",)


@dataclass(frozen=True)
class Needs:
    """What a training and its scoring need of a worker of a cluster, which offers it by these names."""

    threads: int = 1
    memory_gib: float = 2.0
    gpu: int = 0


ON_A_GPU = Needs(memory_gib=4.0, gpu=1)  # of presets that would take days on a CPU


@dataclass(frozen=True)
class MethodEntry:
    """One row of the METHODS table.

    `build(config, context)` returns a method ready to train; `restore(config, weights, device)` one ready to
    edit, without a dataset. `presets` maps `paper`, `cpu`, `quick`, ... to full configs. `version` counts
    changes that alter scores: it is part of the cell's key. `needs` are those of presets that need more than
    is usual.
    """

    name: str
    title: str
    config: type
    presets: Mapping[str, Any]
    build: Callable[[Any, BuildContext], Method]
    restore: Callable[[Any, Mapping[str, Tensor], torch.device], Method]
    reads: tuple[str, ...]  # fields of EditRequest that `edit` reads
    version: int
    learns_from_true_edits: bool = False  # whether `update` needs `Batch.true_edit`
    learns_from_labels: bool = False  # whether every training image needs the name of an expression
    # `grow(weights, config, larger)` returns inference weights of `config` as those of `larger`, where it can
    grow: Callable[[Mapping[str, Tensor], Any, Any], Mapping[str, Tensor]] | None = None
    needs: Mapping[str, Needs] = field(default_factory=dict)

    def restored(self, checkpoint: "Checkpoint", device: torch.device | str, where: str) -> Method:
        """Return the method of a checkpoint, ready to edit; a config that does not fit is a `UserError`.

        `where` names the config in that error.
        """
        config: Any = from_dict(self.config, checkpoint.card.config, where=where)
        return self.restore(config, checkpoint.weights, torch.device(device))
