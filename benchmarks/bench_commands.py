"""`eggan bench`. Heavy imports wait until a command runs, so that `--help` is quick."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eggan.tracking import Store, Synced

from benchmarks.bundle.run_here import LEAST_PYTHON
from benchmarks.photos_command import add_photos
from benchmarks.speed_command import add_speed
from eggan.cluster.connection import add_cluster_arguments
from eggan.options import (
    add_cell_choice,
    add_command,
    add_data_argument,
    add_device_argument,
    add_offline_argument,
    add_openface_argument,
    add_runs_argument,
    add_tracking_argument,
    number_of_images,
)
from eggan.progress import loading

BENCH_EXAMPLES = """examples:
  eggan bench list                          the suites
  eggan bench run quick --dry-run           what would run, how long, how much disk
  eggan bench run quick                     train and score what is not finished yet
  eggan bench run standard --only eggan --seed 1     one cell
  eggan bench run standard --cluster tcp://10.0.0.1:8786     on the workers of a Dask scheduler
  eggan bench run ablations-w --images 48000    a third of its training images: what a laptop has time for
  eggan bench run standard --add mymethod:cpu   an installed method beside the suite's own
  eggan bench run paper --dataset rafd --openface OpenFace/build/bin --verifier lightcnn:lightcnn29v2
  eggan bench status                        the state of every cell, with reasons; which are the suite's own
  eggan bench speed                         ms per training step and edit of every method
  eggan bench speed --size 128 --methods stargan --official stargan=../stargan    beside the official code
  eggan bench photos                        what edits do to photographs that packages ship
  eggan bench photos FOLDER                 to your own
  eggan bench sync                          what was tracked offline, to the store in the folder of results
  eggan bench sync --tracking-uri http://localhost:5000      to a server
  eggan bench bundle --out bundle           a folder that runs suites on a node without a network
  eggan bench sync results-*.eggan          bring home what a bundle has left on a node
"""


def register(subparsers: Any) -> None:
    """Add `eggan bench`."""
    bench = add_command(subparsers, "bench", "run benchmark suites and look at their state", BENCH_EXAMPLES)
    actions = bench.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_run(add_command(actions, "run", "run the cells of a suite that are not finished", BENCH_EXAMPLES))
    listing = add_command(actions, "list", "list the suites", BENCH_EXAMPLES)
    listing.set_defaults(run=list_suites)
    status = add_command(actions, "status", "show the state of every cell", BENCH_EXAMPLES)
    add_runs_argument(status)
    status.set_defaults(run=show_status)
    measured = "what steps, edits and pictures cost on this machine"
    add_speed(add_command(actions, "speed", measured, BENCH_EXAMPLES))
    bundle = add_command(
        actions, "bundle", "write a folder that runs suites on a node without a network", BENCH_EXAMPLES
    )
    bundle.add_argument(
        "--out", type=Path, default=Path("bundle"), metavar="FOLDER", help="folder to write (default: bundle)"
    )
    bundle.add_argument(
        "--python",
        type=python_version,
        default="3.12",
        metavar="X.Y",
        help="the node's Python (default: 3.12)",
    )
    bundle.set_defaults(run=write_bundle)
    photographs = "what edits do to photographs: AUs, identity, faces still found"
    add_photos(add_command(actions, "photos", photographs, BENCH_EXAMPLES))
    sync = add_command(
        actions, "sync", "ship all local runs to the tracking store, studies too", BENCH_EXAMPLES
    )
    sync.add_argument(
        "places",
        nargs="*",
        type=Path,
        metavar="FOLDER|ARCHIVE",
        help="further folders, as of `eggan train --out`, and results of a bundle: all parts of an archive",
    )
    add_runs_argument(sync)
    add_tracking_argument(sync)
    sync.set_defaults(run=sync_runs)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="name of the suite: see `eggan bench list`")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the cells, what is cached, time and disk"
    )
    add_cell_choice(parser)
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="METHOD[:PRESET]",
        help="train and score this method too, on as many images as the suite's own (repeatable)",
    )
    parser.add_argument(
        "--images",
        type=number_of_images,
        metavar="N",
        help="train every method on N images, in the place of the suite's own number",
    )
    add_device_argument(parser)
    parser.add_argument(
        "--dataset", type=Path, metavar="NAME", help="rafd, mmi, .. or a dataset folder in place of SynFACS"
    )
    add_instruments(parser)
    add_data_argument(parser)
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="cells at a time; they share the cores (default: 1)",
    )
    add_cluster_arguments(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that render (default: as many as cores and memory allow)",
    )
    add_offline_argument(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for cells that another process runs (default: skip them)",
    )
    parser.add_argument("--cell", action="append", default=[], help=argparse.SUPPRESS)
    add_runs_argument(parser)
    add_tracking_argument(parser)
    parser.set_defaults(run=run_suite)


def python_version(text: str) -> str:
    """Return the value of `--python`, such as 3.12: a version that a bundle runs on."""
    numbers = re.fullmatch(r"(\d+)\.(\d+)", text)
    if numbers is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version of Python, such as 3.12")
    if tuple(map(int, numbers.groups())) < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        raise argparse.ArgumentTypeError(f"a bundle needs Python {least} or newer, not {text}")
    return text


def add_instruments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `InstrumentChoice.of` reads: which scorers to use."""
    parser.add_argument(
        "--au-instrument",
        default="auto",
        metavar="NAME",
        help="synfacs (the shipped estimators), landmarks (the shipped landmark reader) or openface "
        "(default: auto: openface on photographs, or with --openface)",
    )
    parser.add_argument(
        "--verifier",
        default="auto",
        metavar="NAME",
        help="synfacs (the shipped one) or lightcnn:FOLDER, of `eggan import lightcnn` (default: auto)",
    )
    add_openface_argument(parser)
    parser.add_argument(
        "--openface-version",
        metavar="VERSION",
        help="OpenFace's version, such as 2.2.0: the program does not tell",
    )


def run_suite(arguments: argparse.Namespace) -> int:
    """Run a suite; 0 when every chosen cell is finished, 1 when one failed."""
    with loading():
        from benchmarks.running.bench_session import BenchSession
        from eggan.child_process import end_with_parent
        from eggan.errors import UserError
        from eggan.startup import set_threads

    if arguments.processes < 1:
        raise UserError("--processes must be at least 1")
    if arguments.cluster is not None and arguments.processes != 1:
        raise UserError("--processes is for this machine alone: leave it out, or --cluster")
    if arguments.workers is not None and arguments.workers < 1:
        raise UserError("--workers must be at least 1")
    end_with_parent()
    set_threads(arguments.processes)
    session = BenchSession.of(arguments)
    return session.dry_run() if arguments.dry_run else session.run()


def list_suites(arguments: argparse.Namespace) -> int:
    """Print the suites and the methods."""
    with loading():
        from benchmarks.running.bench_console import suites_text
        from benchmarks.suites.methods import all_methods

    print(suites_text())
    print("methods:", ", ".join(all_methods()))
    return 0


def show_status(arguments: argparse.Namespace) -> int:
    """Print the state of every cell."""
    from benchmarks.running.bench_console import status_text

    print(status_text(arguments.runs))
    return 0


def write_bundle(arguments: argparse.Namespace) -> int:
    """Write the folder and say how to use it."""
    from benchmarks.bundle.make_bundle import make_bundle

    size = make_bundle(arguments.out, arguments.python)
    print(f"{arguments.out}: {size / 1e6:.1f} MB, for Python {arguments.python} on Linux (x86-64)")
    print(f"on the node: {arguments.out.name}/run node --minutes 8 --device cuda")
    return 0


def sync_runs(arguments: argparse.Namespace) -> int:
    """Ship every run below the folder of results, and below further folders, to the store."""
    with loading():
        from benchmarks.running.suite_run import sync
        from eggan import tracking
        from eggan.errors import UserError
        from eggan.tracking.no_runs import has_runs, no_runs

    for place in arguments.places:
        if not place.exists():
            raise UserError(f"there is no folder or archive {place}")
    archives = [place for place in arguments.places if place.is_file()]
    if archives:
        from benchmarks.bundle.bringing_home import bring_home

        for line in bring_home(archives, arguments.runs):
            print(line)
    folders = [place for place in arguments.places if place.is_dir()]
    if not any(map(has_runs, [arguments.runs, *folders])):
        raise no_runs(folders[0] if folders else arguments.runs, arguments.runs)
    store = tracking.open_store(arguments.tracking_uri, arguments.runs)
    print_synced(sync(arguments.runs, store, folders), store)
    return 0


def print_synced(done: "Synced", store: "Store") -> None:
    """Print what a sync has shipped, and a line for each reason why something is left."""
    from eggan.tracking.address import without_password

    for folder, run_id in done.runs.items():
        print(f"{run_id}  {folder}")
    for reason, folders in done.left.items():
        print(f"not all of {len(folders)} runs could be shipped, such as {folders[0]}: {reason}")
    print(f"{len(done.runs)} runs are up to date in {without_password(store.uri)}")
