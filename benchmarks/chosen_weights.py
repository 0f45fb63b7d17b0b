"""Which weights a command works with: a checkpoint's folder, a training by its name, or shipped ones."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eggan.errors import UserError, known_names
from eggan.options import add_runs_argument
from eggan.progress import loading

if TYPE_CHECKING:  # torch takes more than a second to import; `eggan --help` must not
    from eggan.edit.editing import Model


@dataclass(frozen=True)
class ChosenWeights:
    """A method ready to edit, the safetensors file of its weights, and their name where they are shipped."""

    model: "Model"
    file: Path
    shipped: str = ""

    @property
    def title(self) -> str:
        """What was chosen, for one line of output."""
        return f"{self.model.name} of {self.shipped or self.file.parent}"


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint`, `--weights` and `--runs`, which `chosen_weights` reads."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER|NAME", help="folder, or name of a training in --runs"
    )
    which.add_argument("--weights", metavar="NAME", help="shipped weights (default: the shipped EGGAN-W)")
    add_runs_argument(parser)


def chosen_weights(arguments: argparse.Namespace, device: str) -> ChosenWeights:
    """Load what the options name; a shipped name may stand for a folder, as in `eggan edit`."""
    with loading():
        from benchmarks.edit_command import trained_folder
        from benchmarks.suites.methods import installed_method
        from eggan.checkpoint import WEIGHTS_FILE
        from eggan.edit.editing import load_model, load_shipped_model
        from eggan.shipped.weights import FOLDER, NAMES, shipped_name

    folder = None
    if arguments.checkpoint is not None:
        folder = trained_folder(arguments.checkpoint, arguments.runs)
    name = arguments.weights or shipped_name(folder)
    if name is None:
        assert folder is not None
        return ChosenWeights(load_model(folder, installed_method, device), folder / WEIGHTS_FILE)
    if name not in NAMES:
        raise UserError(f"no shipped weights are called {name!r}{known_names(name, NAMES)}")
    model = load_shipped_model(installed_method, device, name)
    return ChosenWeights(model, FOLDER / f"{name}.safetensors", name)
