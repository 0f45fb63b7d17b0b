"""`eggan edit` and `eggan interpolate`: the command lines of `eggan.edit`, which knows no method by name."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.options import add_command, add_device_argument, add_runs_argument, resolve_device
from eggan.outputs import add_force_argument
from eggan.progress import loading

if TYPE_CHECKING:  # torch takes more than a second to import; `eggan --help` must not
    from torch import Tensor

    from eggan.edit.edit_targets import Targets
    from eggan.edit.editing import Model
    from eggan.method import EditRequest

EDIT_EXAMPLE = """examples:
  eggan edit face.png --au 12=4 --au 6=3 -o smile.png    these two AUs, every other AU 0
  eggan edit face.png --au 12=4 --keep -o smile.png      the other AUs stay as the AU estimator reads them
  eggan edit face.png --checkpoint weights/stargan --expression happy -o smile.png
  eggan edit face.png --checkpoint weights/homointerpgan --reference laughing.png -o smile.png"""
INTERPOLATE_EXAMPLE = """example:
  eggan interpolate face.png --au 12=5 --au 6=4 --steps 9 -o strip.png"""


def register_edit(subparsers: Any) -> None:
    """Add `eggan edit`."""
    parser = add_command(subparsers, "edit", "edit a photograph by action units", EDIT_EXAMPLE)
    _add_edit_arguments(parser, default_output="edit.png")
    parser.add_argument(
        "--keep", action="store_true", help="leave the AUs that no --au names as the source has them"
    )
    parser.set_defaults(run=run_edit)


def register_interpolate(subparsers: Any) -> None:
    """Add `eggan interpolate`."""
    parser = add_command(
        subparsers, "interpolate", "a strip of frames from the source to an edit", INTERPOLATE_EXAMPLE
    )
    _add_edit_arguments(parser, default_output="strip.png")
    parser.add_argument("--steps", type=int, default=9, help="number of frames (default: 9)")
    parser.set_defaults(run=run_interpolate, keep=False)


def _add_edit_arguments(parser: argparse.ArgumentParser, default_output: str) -> None:
    parser.add_argument("image", type=Path, help="photograph of one centred face")
    parser.add_argument(
        "--au", action="append", default=[], metavar="N=INTENSITY", help="target, 0 to 5; repeat it"
    )
    parser.add_argument(
        "--expression", metavar="NAME", help="target, for methods that read one: neutral, happy, angry, .."
    )
    parser.add_argument(
        "--reference", type=Path, metavar="FILE", help="target face, for methods that read one"
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--source-au", action="append", default=[], metavar="N=INTENSITY", help="an AU of the source"
    )
    known.add_argument("--neutral", action="store_true", help="the source is neutral: all its AUs are 0")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="folder, name of a training in --runs, or of shipped weights: `eggan weights list` (default: "
        "the shipped EGGAN-W)",
    )
    add_runs_argument(parser)
    add_device_argument(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(default_output), help=f"default: {default_output}"
    )
    add_force_argument(parser)


def run_edit(arguments: argparse.Namespace) -> int:
    """Write one edited picture and return 0."""
    with loading():
        from eggan.edit.editing import to_picture
        from eggan.pictures import save_picture

    model, request = _prepare(arguments, arguments.keep)
    edited = model.edit(request)[0]
    print(f"wrote {save_picture(to_picture(edited), arguments.output)}")
    return 0


def run_interpolate(arguments: argparse.Namespace) -> int:
    """Write a strip: the source, then `steps` frames from its AUs to the target's (Eq. 8). Return 0."""
    with loading():
        import torch

        from eggan.edit.editing import interpolation, strip
        from eggan.pictures import save_picture

    if arguments.steps < 2:
        raise UserError(f"--steps is {arguments.steps}: an interpolation has at least 2 frames")
    model, request = _prepare(arguments, read_source=True)
    frames = interpolation(model, request, arguments.steps)
    path = save_picture(strip(torch.cat([request.source, frames])), arguments.output)
    print(f"wrote {path}: the source, then {arguments.steps} frames")
    return 0


def _prepare(arguments: argparse.Namespace, read_source: bool) -> tuple["Model", "EditRequest"]:
    """Check all that was asked before anything slow, then load checkpoint and photograph."""
    import numpy as np

    from eggan.aus import AU_COUNT
    from eggan.edit import editing
    from eggan.pictures import check_picture_output

    targets = _targets(arguments)
    targets.check()
    read = [arguments.image, *([targets.reference] if targets.reference else [])]
    check_picture_output(arguments.output, read, arguments.force)
    wanted = editing.parse_aus(arguments.au)
    editing.parse_aus(arguments.source_au)
    device = resolve_device(arguments.device)
    folder = arguments.checkpoint and trained_folder(arguments.checkpoint, arguments.runs)
    model = _load(folder, device)
    targets.check_read(model.name, model.reads)
    print(f"{model.name} of {folder or 'the shipped weights'}, {model.description}")
    pixels, *references = (_load_face(path, model) for path in read)
    source = np.zeros(AU_COUNT, dtype=np.float32)
    if read_source or "source_aus" in model.reads:
        small = model.at_own_size(pixels)
        source = editing.source_intensities(small, arguments.source_au, arguments.neutral, device)
    target = editing.au_vector(source if arguments.keep else np.zeros(AU_COUNT), wanted)
    reference = references[0] if references else None
    request = editing.edit_request(pixels, source, target, device, targets.expression_index, reference)
    return model, request


def trained_folder(given: Path, runs: Path) -> Path:
    """Return the folder `given`; where there is none, that of a training of this name in `runs`."""
    from benchmarks.train_command import TRAININGS

    named = runs / TRAININGS / given
    return named if named.is_dir() and not given.exists() else given


def _load(folder: Path | None, device: str) -> "Model":
    from benchmarks.suites.methods import installed_method
    from eggan.edit.editing import load_model, load_shipped_model
    from eggan.shipped.weights import NAMES

    if folder is None:
        return load_shipped_model(installed_method, device)
    if str(folder) in NAMES and not folder.exists():
        return load_shipped_model(installed_method, device, str(folder))
    return load_model(folder, installed_method, device)


def _targets(arguments: argparse.Namespace) -> "Targets":
    from eggan.edit.edit_targets import Targets

    given = (
        ("--source-au", arguments.source_au),
        ("--neutral", arguments.neutral),
        ("--keep", arguments.keep),
    )
    beside = [option for option, value in given if value]
    return Targets(arguments.au, arguments.expression, arguments.reference, beside)


def _load_face(path: Path, model: "Model") -> "Tensor":
    """Return a photograph (1, 3, S, S) at the size that the model edits; say what was changed for it."""
    from eggan.data.images import load_photograph
    from eggan.edit.editing import LARGEST_SIDE

    largest = LARGEST_SIDE if model.edits_large else model.image_size
    photograph = load_photograph(path, model.image_size, largest)
    for note in photograph.notes:
        print(f"note: {path} was {note}")
    if photograph.size != (model.image_size, model.image_size):
        width, height = photograph.size
        print(
            f"warning: {path} has {width} x {height} pixels; {model.name}, {model.description}",
            file=sys.stderr,
        )
    return photograph.pixels
