"""`eggan instruments train | card | check`."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from eggan.errors import UserError
from eggan.options import add_command, add_setting_argument, folder
from eggan.outputs import add_force_argument
from eggan.progress import loading

if TYPE_CHECKING:
    from eggan.evaluation.train_instruments import Kind

KINDS: tuple["Kind", ...] = ("au_a", "au_b", "verifier")  # networks that see images
LANDMARK_READER: Final = "au_landmarks"
Instrument: TypeAlias = "Kind | Literal['au_landmarks']"
CHOICES: dict[str, tuple[Instrument, ...]] = {
    "a": ("au_a",),
    "b": ("au_b",),
    "landmarks": (LANDMARK_READER,),
    "verifier": ("verifier",),
    "all": ("au_a", "au_b", LANDMARK_READER, "verifier"),
}
RENDERS = Path("data/instruments")
EXAMPLES = """examples:
  eggan instruments card                                 hashes, recipes and figures of all four
  eggan instruments card --which verifier                of one
  eggan instruments check --which a                      draws the held-out faces again and reads them
  eggan instruments train --which b --out my-weights     train one anew, beside those of the package
"""


def register(subparsers: Any) -> None:
    """Add `eggan instruments`."""
    summary = "train, show or check the AU estimators, the landmark reader and the verifier"
    parser = add_command(subparsers, "instruments", summary, EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _register_train(actions)
    card = add_command(actions, "card", "print what the shipped instruments are and reach", EXAMPLES)
    _add_which(card)
    card.set_defaults(run=run_card)
    summary = "render the held-out faces again and compare with the cards"
    check = add_command(actions, "check", summary, EXAMPLES)
    _add_which(check)
    _add_data(check)
    check.add_argument("--renew", action="store_true", help="write the new figures into the cards")
    check.set_defaults(run=run_check)


def _register_train(actions: Any) -> None:
    summary = "render dense faces, train, measure, write weights and cards"
    train = add_command(actions, "train", summary, EXAMPLES)
    _add_which(train)
    _add_data(train)
    train.add_argument("--seed", type=int, default=0, help="training seed (default: 0)")
    train.add_argument("--epochs", type=int, metavar="N", help="epochs (default: the recipe's)")
    train.add_argument(
        "--identities", type=int, metavar="N", help="training identities (default: the recipe's)"
    )
    add_setting_argument(train, "change a field of the recipe")
    train.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for weights and cards (default: the package's)"
    )
    add_force_argument(train)
    train.set_defaults(run=run_train)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--which", choices=sorted(CHOICES), default="all", help="which instrument (default: all)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=folder,
        default=RENDERS,
        metavar="FOLDER",
        help=f"folder for the renders (default: {RENDERS})",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="rendering processes (default: as many as cores and memory allow)",
    )


def run_train(args: argparse.Namespace) -> int:
    """Train the chosen instruments one after the other and print their cards."""
    with loading():
        from eggan.data.workers import worker_count
        from eggan.evaluation.instruments import check_place

    workers = worker_count(args.workers)
    check_place(CHOICES[args.which], args.out, args.force)
    makers = [  # all settings are read before the first is trained
        _landmark_reader(args, workers) if kind == LANDMARK_READER else _network(kind, args, workers)
        for kind in CHOICES[args.which]
    ]
    for make in makers:
        print(describe(make()))
    return 0


def _network(kind: "Kind", args: argparse.Namespace, workers: int) -> Callable[[], dict[str, Any]]:
    from eggan.config import override
    from eggan.evaluation.instrument_data import DataRecipe
    from eggan.evaluation.make_instruments import make_instrument
    from eggan.evaluation.train_instruments import RECIPES

    data = override(DataRecipe(), _named("identities", args.identities))
    recipe = override(RECIPES[kind], args.assignments + _named("epochs", args.epochs))
    return partial(make_instrument, kind, recipe, data, args.seed, args.data, workers, args.out)


def _landmark_reader(args: argparse.Namespace, workers: int) -> Callable[[], dict[str, Any]]:
    from eggan.config import override
    from eggan.evaluation.landmark_data import LandmarkData
    from eggan.evaluation.make_landmark_reader import make_landmark_reader
    from eggan.evaluation.train_landmark_reader import LandmarkRecipe

    if args.which == "landmarks" and args.epochs is not None:
        raise UserError("the landmark reader is fitted in closed form: it has no --epochs")
    data = override(LandmarkData(), _named("people", args.identities))
    recipe = override(LandmarkRecipe(), args.assignments)
    return partial(make_landmark_reader, recipe, data, args.seed, args.data, workers, args.out)


def _named(field: str, value: int | None) -> list[str]:
    """Return an option's value as a recipe's setting; none where it was not given."""
    return [] if value is None else [f"{field}={value}"]


def run_card(args: argparse.Namespace) -> int:
    """Print the cards of the shipped instruments."""
    from eggan.evaluation.instrument_cards import read_card

    for kind in CHOICES[args.which]:
        print(describe(read_card(kind)))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Measure the shipped instruments again; status 1 when a figure is not the card's."""
    with loading():
        from eggan.data.workers import worker_count
        from eggan.evaluation.make_instruments import check_instrument
        from eggan.evaluation.make_landmark_reader import check_landmark_reader

    differences: list[str] = []
    wanted = args.data, worker_count(args.workers), args.renew
    for kind in CHOICES[args.which]:
        if kind == LANDMARK_READER:
            differences += check_landmark_reader(*wanted)
        else:
            differences += check_instrument(kind, *wanted)
    for line in differences:
        print(line)
    print("the cards hold" if not differences else f"{len(differences)} figures differ from the cards")
    return 1 if differences else 0


def describe(card: dict[str, Any]) -> str:
    """Return a card as text for a terminal: one line per figure, one line per AU."""
    lines = [
        f"{card['name']}: {card['title']}",
        f"  sha256 {card['sha256'][:16]}  parameters {card['parameters']:,}  seed {card['seed']}"
        f"  trained in {card['training']['seconds']:.0f} s",
    ]
    if "threshold" in card:
        fixed = card["threshold"]
        lines.append(
            f"  threshold {fixed['cosine']:.4f} (equal-error rate {100 * fixed['equal_error_rate']:.2f} %,"
            f" {fixed['identities']} identities used for nothing else)"
        )
    if card.get("unreadable"):
        names = ", ".join(column.upper() for column in card["unreadable"])
        lines.append(f"  not read, since geometry shows too little of them: {names}")
    for name, figures in card["held_out"].items():
        lines += _describe_figures(name, figures)
    return "\n".join(lines)


def _describe_figures(name: str, figures: dict[str, Any]) -> list[str]:
    people = f"{figures['images']:>5} images of {figures['identities']} people at {figures['size']} px"
    head = f"  {name:<14} {people}:"
    if "per_au" not in figures:
        return [
            f"{head} EER {figures['equal_error_percent']:.2f} %,"
            f" accuracy {figures['accuracy_percent']:.2f} %,"
            f" false accepts {figures['false_accept_percent']:.2f} %"
        ]
    means = [f"{name.upper()} {_show(figures[f'mean_{name}'])}" for name in ("pcc", "mse", "mae", "icc")]
    lines = [f"{head} {', '.join(means)}"]
    per_au = [
        f"{column.upper()} {_show(values['pcc'])}/{_show(values['mse'])}"
        for column, values in figures["per_au"].items()
    ]
    lines += ["    PCC/MSE " + "  ".join(per_au[start : start + 6]) for start in range(0, len(per_au), 6)]
    return lines


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
