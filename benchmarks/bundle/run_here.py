#!/usr/bin/env python3
"""Run benchmark suites in a fixed number of minutes, without a network, and pack the results.

    bundle/run node --minutes 8 --device cuda
    bundle/run people ablations-crowd --images own --minutes 30

Needs Python with torch, numpy, pandas, numba and scipy; everything else is in this folder. What lies in --out
afterwards as results-K-of-N.eggan goes home, where `eggan bench sync` reads it.
"""

import argparse
import json
import os
import sys
import zipfile
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
NEEDED = ("torch", "numpy", "pandas", "numba", "scipy")
LEAST_PYTHON = (3, 11)
MISTAKE = 2


def main() -> int:
    """Bring in what this Python lacks, then run the suites."""
    if sys.version_info < LEAST_PYTHON:  # no installer has asked
        least = ".".join(map(str, LEAST_PYTHON))
        return fail(f"Python {least} or newer is needed, this is {sys.version.split()[0]}")
    sys.path.insert(0, str(HERE / "source"))
    arguments = parse()
    stamp = json.loads((HERE / "source" / "bundle.json").read_text(encoding="utf-8"))
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        return fail(f"{sys.executable} lacks {', '.join(lacking)}: install it, or use another Python")
    own = nullcontext(arguments.out / ".packages")
    with TemporaryDirectory(prefix="eggan-packages-") if arguments.dry_run else own as packages:
        return run_with(Path(packages), stamp, arguments)


def run_with(packages: Path, stamp: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Run the suites with what this Python lacks unpacked into the folder `packages`."""
    try:
        for package in stamp["packages"]:
            if not is_here(package):
                unpack(HERE / "wheels" / package["wheel"], packages)
    except OSError as error:
        return fail(f"cannot write {packages}: {error.strerror or error}")
    sys.path.insert(1, str(packages.resolve()))
    paths = sys.path[:2]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *([before] if before else [])])
    broken = [
        package["module"]
        for package in stamp["packages"]
        if not package["pure"] and not imports(package["module"])
    ]
    if broken:
        return fail(
            f"{', '.join(broken)} cannot be imported: the bundle is for Python {stamp['python']} on "
            f"{stamp['platform']}, this is {sys.version.split()[0]}: install it here, or "
            "make the bundle again with --python"
        )
    from benchmarks.bundle.node import run

    return run(arguments)


def parse() -> argparse.Namespace:
    """Return the options of the command."""
    from eggan.options import CommandParser, add_cell_choice, folder

    parser = CommandParser(
        prog="run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "suites",
        nargs="+",
        metavar="SUITE",
        help="node, quick, standard, ..; the cells of several, which need --images, run side by side",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        required=True,
        metavar="N",
        help="for everything: rendering, training, scoring, packing",
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: auto)"
    )
    parser.add_argument(
        "--out",
        type=folder,
        default=Path("results"),
        metavar="FOLDER",
        help="folder of results (default: results)",
    )
    parser.add_argument(
        "--data",
        type=folder,
        metavar="FOLDER",
        help="folder of rendered data, which several runs may share (default: OUT/data)",
    )
    parser.add_argument(
        "--images",
        type=images,
        metavar="own|N",
        help="train each cell on the suite's own number of images, or on N, and as many cells as the minutes "
        "allow (default: all cells, on as many images as fit, equal for all)",
    )
    add_cell_choice(parser)
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="cells at a time, which share the device (default: on a GPU one per two cores, up to 8; else 1)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that render (default: as many as cores and memory allow)",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the cells in their order")
    return parser.parse_args()


def images(text: str) -> "int | str":
    """Return the value of `--images`: `own`, or a number of at least 1."""
    from eggan.options import number_of_images

    return text if text == "own" else number_of_images(text)


def is_here(package: dict[str, str]) -> bool:
    """Return whether this Python has a package in a version that will do."""
    try:
        return numbers(version(package["name"])) >= numbers(package["at_least"])
    except PackageNotFoundError:
        return False


def numbers(text: str) -> list[int]:
    """Return a version's leading numbers: [4, 3, 1] of 4.3.1rc2."""
    found = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return found


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel of this bundle."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def imports(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def fail(reason: str) -> int:
    """Say why nothing was run."""
    print(f"run: {reason}", file=sys.stderr)
    return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
