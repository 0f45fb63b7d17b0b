"""`eggan weights list | check | train`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.options import add_command, add_device_argument, add_runs_argument, resolve_device
from eggan.progress import loading, working

if TYPE_CHECKING:
    from eggan.shipped.recipes import Recipe

EXAMPLES = """examples:
  eggan weights list                              names for `eggan edit --checkpoint`, and held-out figures
  eggan weights check                             one edit of a rendered face; exit status 1 when an AU stays
  eggan weights check eggan_64                    the same of these weights alone
  eggan weights train eggan_w_128 --dry-run       the commands and what they cost
  eggan weights train eggan_w_128                 runs them; stopped, the same command goes on
"""


def register(subparsers: Any) -> None:
    """Add `eggan weights`."""
    summary = "list, check or make anew the weights that come with the package"
    parser = add_command(subparsers, "weights", summary, EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _add(actions, "list", "print the shipped weights, their held-out figures and hashes", run_list)
    check = _add(actions, "check", "compare hashes, edit one rendered face, read its AUs", run_check)
    check.add_argument("names", nargs="*", metavar="NAME", help="shipped weights to check (default: all)")
    summary = "make shipped weights anew: render the people, train, keep the best on validation people"
    train = _add(actions, "train", summary, run_train)
    train.add_argument("name", metavar="NAME", help="name of shipped weights: `eggan weights list`")
    train.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for all of it (default: weights/NAME in --runs)"
    )
    train.add_argument("--dry-run", action="store_true", help="print the commands and their cost only")
    add_device_argument(train)
    add_runs_argument(train)


def _add(actions: Any, name: str, summary: str, run: Any) -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary, EXAMPLES)
    parser.set_defaults(run=run)
    return parser


def run_list(arguments: argparse.Namespace) -> int:
    """Print one block for each of the shipped weights; return 0."""
    from eggan.shipped.weights import FOLDER, NAMES, read_card

    for name in NAMES:
        size = (FOLDER / f"{name}.safetensors").stat().st_size
        print(describe(read_card(name), size))
    return 0


def describe(card: dict[str, Any], size: int) -> str:
    """Return a card as text for a terminal; `size` in bytes."""
    held_out = card["held_out"]
    lines = [
        f"{card['name']}: {card['method']}, {card['image_size']} px, {size / 1e6:.1f} MB, "
        f"{card['parameters']:,} parameters",
        f"  sha256 {card['sha256']}",
        f"  on {held_out['pairs']} pairs of {held_out['people']} people ({held_out['split']}):",
    ]
    for which in ("a", "b"):
        figures = held_out[f"estimator_{which}"]
        mse, pcc, slope = (figures["edit"][key] for key in ("mse", "pcc", "slope"))
        lines.append(f"  AU estimator {which}: MSE {mse:.3f}, PCC {pcc:.3f}, slope {slope:.2f}")
    lines.append(
        f"  same person {held_out['same_person_percent']:.1f} %, "
        f"PSNR to the true edit {held_out['psnr']:.1f} dB"
    )
    return "\n".join(lines)


def run_check(arguments: argparse.Namespace) -> int:
    """Check hashes and one edit of all shipped weights, or of those named; return 1 when an AU stays."""
    with loading():
        from eggan.shipped.check import read_one_edit
        from eggan.shipped.weights import NAMES, check_name, load_shipped

    for name in arguments.names:
        check_name(name)
    wrong = 0
    for name in arguments.names or NAMES:
        load_shipped(name)
        print(f"{name}: the file is the one that its card describes")
        with working(f"editing with {name} and reading the edits"):
            readings = list(read_one_edit(name))
        for reading in readings:
            wrong += not reading.is_right
            print(
                f"{name}: AU{reading.au} = {reading.asked:g} asked of a neutral face; estimator a reads "
                f"{reading.before:.2f} before, {reading.after:.2f} after: "
                f"{'right' if reading.is_right else 'WRONG'}"
            )
    return 1 if wrong else 0


def run_train(arguments: argparse.Namespace) -> int:
    """Run a recipe, or print it; return 0."""
    with loading():
        from eggan.shipped.recipes import find_recipe

    from eggan.outputs import check_output_folder

    name = arguments.name
    recipe, folder = find_recipe(name), arguments.out or arguments.runs / "weights" / name
    check_output_folder(folder)
    if arguments.dry_run:
        print(describe_recipe(recipe, folder, arguments.device))
        return 0
    with loading():
        from eggan.shipped.check import ENTRIES
        from eggan.shipped.make_weights import check_earlier, make_weights

    check_earlier(name, folder)
    card = make_weights(name, recipe, ENTRIES[recipe.method], folder, resolve_device(arguments.device))
    print(describe(card, (folder / f"{name}.safetensors").stat().st_size))
    print(f"in {folder}: {name}.safetensors and {name}.json")
    return 0


def describe_recipe(recipe: "Recipe", folder: Path, device: str) -> str:
    """Return a recipe's commands, each with its cost, as text for a terminal."""
    from eggan.shipped.recipes import written

    (_, data), *trainings = recipe.commands(folder, device)
    lines = [written(data), f"  {recipe.gigabytes:.1f} GB on the disk, and in memory while training"]
    for part, (_, words) in zip(recipe.parts, trainings, strict=True):
        lines += [
            written(words),
            f"  {part.what}; {part.images:,} images, {part.seconds:,} s on {part.ran_on} ({part.code})",
            *([f"  the shipped file differs: {part.difference}"] if part.difference else []),
        ]
    lines.append(
        f"then the least AU MSE on validation people (estimator a) decides; stored as {recipe.storage}"
    )
    return "\n".join(lines)
