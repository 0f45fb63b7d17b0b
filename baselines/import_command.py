"""`eggan import`: official checkpoints become folders that `eggan edit` and `load_lightcnn` read."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.options import add_command
from eggan.outputs import add_force_argument
from eggan.progress import loading, working

if TYPE_CHECKING:
    from torch import Tensor

    from eggan.checkpoint import ModelCard

EXAMPLES = """examples:
  eggan import stargan 200000-G.ckpt -o weights/stargan
  eggan import homointerpgan encoder-latest.pth interp_net-latest.pth decoder-latest.pth
  eggan import ganimation net_epoch_30_id_G.pth -o weights/ganimation
  eggan import lightcnn LightCNN_29Layers_V2_checkpoint.pth.tar -o weights/lightcnn"""
NAMES = ("stargan", "homointerpgan", "ganimation", "lightcnn")
SIDE = 128  # all of them work on 128 x 128 pixels


def register(subparsers: Any) -> None:
    """Add `eggan import`."""
    parser = add_command(
        subparsers, "import", "turn an official checkpoint of a baseline into ours", EXAMPLES
    )
    parser.description = "Read checkpoints written by the baselines' official code. Nothing is downloaded."
    parser.add_argument("network", choices=NAMES, help="what the file holds")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="official file(s)")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FOLDER", help="folder to write (default: weights/NETWORK)"
    )
    add_force_argument(parser)
    parser.set_defaults(run=run_import)


def run_import(arguments: argparse.Namespace) -> int:
    """Read, check, write; return 0. A wrong or partial file is a `UserError` that names the missing keys."""
    with loading():
        from baselines import ganimation, homointerpgan, lightcnn, official, stargan
        from eggan.checkpoint import ModelCard, save_checkpoint
        from eggan.config import to_dict
        from eggan.files import check_writable

    name, folder = arguments.network, arguments.out or Path("weights") / arguments.network
    check_writable(folder)
    if name == "lightcnn":
        with working("reading the checkpoint"):
            variant, weights = official.read_lightcnn(arguments.files)
        card = ModelCard(name, lightcnn.VERSION, dict(variant), SIDE)
    else:
        read = {
            "stargan": (official.read_stargan, stargan.VERSION),
            "homointerpgan": (official.read_homointerpgan, homointerpgan.VERSION),
            "ganimation": (official.read_ganimation, ganimation.VERSION),
        }
        reader, version = read[name]
        with working("reading the checkpoint"):
            config, weights = reader(arguments.files)
        card = ModelCard(name, version, to_dict(config), SIDE)
    _check_folder(folder, arguments, card, weights)
    save_checkpoint(folder, card, weights)
    print(f"{len(weights)} tensors of {name} in {folder}")
    return 0


def _check_folder(
    folder: Path, arguments: argparse.Namespace, card: "ModelCard", weights: "dict[str, Tensor]"
) -> None:
    """Raise a `UserError` where a file of the folder would be lost; the same import again loses none."""
    from eggan.checkpoint import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
    from eggan.outputs import check_output, refuse_existing
    from eggan.tracking.record import METRICS_FILE, RECORD_FILE

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with --out")
    refuse_existing(folder, (STATE_FILE, RECORD_FILE, METRICS_FILE), "import")
    again = _holds(folder, card, weights)
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        check_output(folder / name, arguments.files, lambda _: again, arguments.force)


def _holds(folder: Path, card: "ModelCard", weights: "dict[str, Tensor]") -> bool:
    from eggan.checkpoint import load_checkpoint

    try:
        there = load_checkpoint(folder)
    except UserError:
        return False
    equal = there.card == card and there.weights.keys() == weights.keys()
    return equal and all(bool((tensor == weights[name]).all()) for name, tensor in there.weights.items())
