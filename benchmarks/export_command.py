"""`eggan export onnx`: a trained method as a file for programs that have neither torch nor this package."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.options import add_command, add_runs_argument, this_command
from eggan.outputs import add_force_argument, check_output
from eggan.progress import loading

if TYPE_CHECKING:
    from eggan.edit.editing import Model

ONNX_EXAMPLE = """examples:
  eggan export onnx -o eggan_w.onnx                            the shipped EGGAN-W
  eggan export onnx --weights eggan_64 -o eggan.onnx           other shipped weights: `eggan weights list`
  eggan export onnx --checkpoint runs/single/first -o first.onnx
A program that edits with the file alone: docs/examples/edit_onnx.py"""


def register(subparsers: Any) -> None:
    """Add `eggan export`."""
    parser = subparsers.add_parser("export", help="write a trained method as a file for other programs")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    parser = add_command(actions, "onnx", "write a trained method as one ONNX file", ONNX_EXAMPLE)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--checkpoint", type=Path, help="folder, or name of a training in --runs")
    which.add_argument("--weights", metavar="NAME", help="shipped weights (default: the shipped EGGAN-W)")
    add_runs_argument(parser)
    parser.add_argument("-o", "--output", type=Path, default=Path("model.onnx"), help="default: model.onnx")
    add_force_argument(parser)
    parser.set_defaults(run=run_onnx)


def run_onnx(arguments: argparse.Namespace) -> int:
    """Write one file and return 0."""
    from eggan.export.onnx_file import CHECKED_BATCHES, check_packages, is_own_file, write_onnx

    check_packages()
    path = arguments.output
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path}: the name must end in .onnx")
    with loading():
        from eggan.export.card import card_of
        from eggan.export.edit_network import EditNetwork
    model, weights, licence = _chosen(arguments)
    check_output(path, [weights], is_own_file, arguments.force)
    network = EditNetwork(model)
    card = card_of(model, network, weights, licence, this_command())
    print(f"{model.name}, {model.description}")
    difference = write_onnx(network, card, model.name, path)
    batches = " and ".join(map(str, CHECKED_BATCHES))
    print(
        f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB; onnxruntime differs from torch by at most "
        f"{difference:.1g} at batches of {batches}"
    )
    return 0


def _chosen(arguments: argparse.Namespace) -> tuple["Model", Path, str]:
    """Return the method, the file of its weights, and their licence."""
    from benchmarks.edit_command import trained_folder
    from benchmarks.suites.methods import installed_method
    from eggan.checkpoint import WEIGHTS_FILE
    from eggan.edit.editing import load_model, load_shipped_model
    from eggan.export.card import SHIPPED_LICENCE, UNKNOWN_LICENCE
    from eggan.shipped.weights import DEFAULT, FOLDER, NAMES

    if arguments.checkpoint is not None:
        folder = trained_folder(arguments.checkpoint, arguments.runs)
        if str(folder) not in NAMES or folder.exists():
            model = load_model(folder, installed_method, "cpu")
            return model, folder / WEIGHTS_FILE, UNKNOWN_LICENCE
    name = str(arguments.checkpoint or arguments.weights or DEFAULT)
    if name not in NAMES:
        raise UserError(f"no shipped weights are called {name!r} (known: {', '.join(NAMES)})")
    model = load_shipped_model(installed_method, "cpu", name)
    return model, FOLDER / f"{name}.safetensors", SHIPPED_LICENCE
