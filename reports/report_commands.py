"""`eggan report build`, `export`, `merge` and `photos`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.options import add_command, add_runs_argument, add_tracking_argument, command
from eggan.progress import loading, progress_bar

if TYPE_CHECKING:  # pandas, matplotlib and MLflow take seconds to import; `eggan --help` must not
    from reports.suite.frame import Frame

INSTRUMENTS = {
    "AU estimator A": "au_a",
    "AU estimator B": "au_b",
    "Landmark reader": "au_landmarks",
    "Face verifier": "verifier",
}
EXAMPLES = """examples:
  eggan report build                                   of the suite that ran last
  eggan report build --suite quick --out page          of another one, elsewhere
  eggan report build --frame reports/results/twin      of results that come with the project; trains nothing
  eggan report build --frame results/people --frame results/standard    with the cells that both suites have
  eggan report export results/here                     the facts themselves, to keep or to send
  eggan report merge all results/here results/there    two sittings as one
  eggan report photos                                  of the photographs that were measured last
"""


def register(subparsers: Any) -> None:
    """Add `report` with its actions."""
    summary = "tables, figures and an HTML page of the tracked runs"
    parser = add_command(subparsers, "report", summary, EXAMPLES)
    actions = parser.add_subparsers(title="actions", dest="action", required=True, metavar="ACTION")
    made = add_command(actions, "build", "write the report of a suite", EXAMPLES)
    made.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the report (default: report in --runs)"
    )
    made.add_argument(
        "--frame",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="build from an exported frame in place of tracked runs (repeatable: they are merged)",
    )
    made.set_defaults(run=run_build)
    summary = "write all facts of a suite's runs to a folder of parquet files"
    exported = add_command(actions, "export", summary, EXAMPLES)
    exported.add_argument("folder", type=Path, help="where to write: a new folder, or an earlier export")
    exported.set_defaults(run=run_export)
    summary = "put exported frames of one suite together: sittings, seeds, machines"
    merged = add_command(actions, "merge", summary, EXAMPLES)
    merged.add_argument("folder", type=Path, help="where the merged frame is written")
    merged.add_argument(
        "frames",
        type=Path,
        nargs="+",
        metavar="FRAME",
        help="exported frames of one suite; one of another suite gives the cells that both have",
    )
    merged.set_defaults(run=run_merge)
    photos = add_command(actions, "photos", "write the page of the last `eggan bench photos`", EXAMPLES)
    photos.add_argument(
        "folder", type=Path, nargs="?", help="the folder of a measurement (default: the last in --runs)"
    )
    photos.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the page (default: report in that folder)"
    )
    add_runs_argument(photos)
    photos.set_defaults(run=run_photos)
    for action in (made, exported):
        action.add_argument("--suite", help="suite to report (default: the one that ran last)")
        add_runs_argument(action)
        add_tracking_argument(action)


def run_build(args: argparse.Namespace) -> int:
    """Build a report, or keep one that was made of the same, and print its overview."""
    from reports.folder_kinds import FRAME, refuse_other_kind
    from reports.style.html import PAGE, check_report_folder
    from reports.style.report_record import kept_summary_of, remember_source
    from reports.suite.store_source import source_digest

    if args.frame and (args.suite or args.tracking_uri):
        raise UserError("--frame holds one suite already: leave out --suite and --tracking-uri")
    out = args.out or args.runs / "report"
    check_report_folder(out)
    for folder in args.frame or ():
        refuse_other_kind(folder, FRAME)
    cards = {} if args.frame else instrument_cards()
    place = None if args.frame else (args.runs, args.tracking_uri, args.suite, cards)
    source = place and source_digest(*place)
    summary = source and kept_summary_of(out, source)
    kept = bool(summary)
    if not summary:
        summary, kept = _made(args, cards, out)
    if place and source and source == source_digest(*place):  # nobody wrote to the store meanwhile
        remember_source(out, source)
    note = "  (kept: made of the same runs by the same code)" if kept else ""
    page = (out / PAGE).resolve().as_uri()
    print("\n".join(["", summary, "", f"report  {page}{note}", f"runs    {command('ui')}"]))
    return 0


def _made(args: argparse.Namespace, cards: Mapping[str, Any], out: Path) -> tuple[str, bool]:
    """Read the runs, build their report unless `out` holds it, and return its overview and whether it did."""
    with loading():
        from reports.style.report_record import kept_summary
        from reports.suite.report_inputs import inputs_digest

    frame = _read(args.frame) if args.frame else _tracked(args, cards)
    inputs = inputs_digest(frame)
    summary = kept_summary(out, inputs)
    if summary is not None:
        return summary, True
    with loading():
        from reports.suite.suite_report import build

    return build(frame, out, progress_bar, inputs).summary, False


def _read(folders: Sequence[Path]) -> "Frame":
    """Return an exported frame, or several put together."""
    with loading():
        from reports.suite.frame import read_frame

    frames = [read_frame(folder) for folder in folders]
    if len(frames) == 1:
        return frames[0]
    with loading():
        from reports.suite.merge import merge_frames  # brings torch, with the suites

    return merge_frames(frames)


def run_export(args: argparse.Namespace) -> int:
    """Export the frame of a suite."""
    with loading():
        from reports.suite.frame import check_frame_folder, write_frame

    check_frame_folder(args.folder)
    print(f"frame written to {write_frame(_tracked(args, instrument_cards()), args.folder)}")
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """Merge exported frames and say how many cells of each method are finished."""
    with loading():
        from reports.folder_kinds import FRAME, refuse_other_kind
        from reports.suite.frame import check_frame_folder, write_frame

    check_frame_folder(args.folder)
    for folder in args.frames:
        refuse_other_kind(folder, FRAME)
    frame = _read(args.frames)
    done = frame.cells[frame.cells["state"] == "finished"].groupby("method").size()
    print(f"frame written to {write_frame(frame, args.folder)}")
    print("finished cells: " + ", ".join(f"{method} {count}" for method, count in done.items()))
    return 0


def run_photos(args: argparse.Namespace) -> int:
    """Build the page of a measurement on photographs and print what was reached."""
    with loading():
        from reports.folder_kinds import PHOTOS, refuse_other_kind
        from reports.photos.photos_report import build, latest
        from reports.style.html import check_report_folder

    folder = args.folder or latest(args.runs / "photos")
    refuse_other_kind(folder, PHOTOS)
    out = args.out or folder / "report"
    check_report_folder(out)
    report = build(folder, out)
    for finding in report.findings:
        print(finding.line)
    print(f"report  {report.page.resolve().as_uri()}")
    return 0


def _tracked(args: argparse.Namespace, cards: Mapping[str, Any]) -> "Frame":
    with loading():
        from eggan.tracking.no_runs import NoRuns
        from eggan.tracking.read import open_to_read
        from reports.folder_kinds import RUNS, refuse_other_kind
        from reports.suite.frame import read_store
        from reports.suite.known_suites import check_suite

    try:
        store = open_to_read(args.tracking_uri, args.runs, suite=args.suite)
    except NoRuns:
        refuse_other_kind(args.runs, RUNS)
        if args.suite:
            check_suite(args.suite)
        raise
    return read_store(store, args.suite, cards, progress_bar)


def instrument_cards() -> dict[str, dict[str, Any]]:
    """Return the cards of the shipped instruments; a missing one is named, since tables do not need it."""
    from eggan.evaluation.instrument_cards import read_card

    cards: dict[str, dict[str, Any]] = {}
    for title, name in INSTRUMENTS.items():
        try:
            cards[title] = read_card(name)
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)
            cards[title] = {"missing": str(error)}
    return cards
