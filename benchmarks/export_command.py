"""`eggan export onnx`: a trained method as a file for programs that have neither torch nor this package."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.chosen_weights import add_weights_arguments, chosen_weights
from eggan.errors import UserError
from eggan.options import add_command, this_command
from eggan.outputs import add_force_argument, check_output
from eggan.progress import loading

ONNX_EXAMPLE = """examples:
  eggan export onnx -o eggan_w.onnx                            the shipped EGGAN-W
  eggan export onnx --weights eggan_64 -o eggan.onnx           other shipped weights: `eggan weights list`
  eggan export onnx --checkpoint runs/single/first -o first.onnx
A program that edits with the file alone: docs/examples/edit_onnx.py"""


def register(subparsers: Any) -> None:
    """Add `eggan export`."""
    parser = add_command(
        subparsers, "export", "write a trained method as a file for other programs", ONNX_EXAMPLE
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    parser = add_command(actions, "onnx", "write a trained method as one ONNX file", ONNX_EXAMPLE)
    add_weights_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("model.onnx"),
        metavar="FILE",
        help="file to write (default: model.onnx)",
    )
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
        from eggan.export.card import SHIPPED_LICENCE, UNKNOWN_LICENCE, card_of
        from eggan.export.edit_network import EditNetwork
    chosen = chosen_weights(arguments, "cpu")
    model = chosen.model
    check_output(path, [chosen.file], is_own_file, arguments.force)
    network = EditNetwork(model)
    licence = SHIPPED_LICENCE if chosen.shipped else UNKNOWN_LICENCE
    card = card_of(model, network, chosen.file, licence, this_command())
    print(f"{model.name}, {model.description}")
    difference = write_onnx(network, card, model.name, path)
    batches = " and ".join(map(str, CHECKED_BATCHES))
    print(
        f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB; onnxruntime differs from torch by at most "
        f"{difference:.1g} at batches of {batches}"
    )
    return 0
