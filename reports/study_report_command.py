"""`eggan study report`: an action of `eggan study`, added from here since studies know nothing of reports."""

import argparse
from pathlib import Path
from typing import Any

from eggan.errors import UserError
from eggan.options import add_command
from eggan.progress import loading, progress_bar
from studies.study_commands import EXAMPLES, add_study_arguments, opened_study


def register(actions: Any) -> None:
    """Add `report` to the actions of `eggan study`."""
    report = add_command(actions, "report", "figures, tables and an HTML page of a study", EXAMPLES)
    add_study_arguments(report, nargs="?", help="the study (or --frame in its place)")
    report.add_argument("--frame", type=Path, metavar="FOLDER", help="an exported study, in place of a name")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the report (default: studies/NAME/report in --runs)",
    )
    report.add_argument(
        "--best", type=int, default=3, metavar="K", help="how many of the best trials it lists (default: 3)"
    )
    report.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """Build a report and print what may be said."""
    with loading():
        from reports.folder_kinds import STUDY, refuse_other_kind
        from reports.study.study_report import build
        from reports.style.html import check_report_folder
        from studies.study_config import study_folder
        from studies.study_export import read_frame

    if (arguments.name is None) == (arguments.frame is None):
        raise UserError("name a study, or an exported one with --frame FOLDER")
    if arguments.best < 0:
        raise UserError(f"--best {arguments.best}: a report shows 0 or more of the best trials")
    if arguments.frame:
        refuse_other_kind(arguments.frame, STUDY)
    else:
        refuse_other_kind(Path(arguments.name), "")  # a folder, where a study's name is wanted
    name, out = arguments.name, arguments.out
    if out or name:  # before the study is read
        check_report_folder(out or study_folder(arguments.runs, name) / "report")
    data = read_frame(arguments.frame) if arguments.frame else opened_study(arguments)
    out = out or study_folder(arguments.runs, name or data.spec.name) / "report"
    check_report_folder(out)
    report = build(data, out, arguments.best, progress_bar)
    for finding in report.findings:
        print(finding.line)
    print(f"report  {report.page.resolve().as_uri()}")
    return 0
