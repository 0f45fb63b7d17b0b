"""`eggan study`. Heavy imports wait until a command runs, so that `--help` is quick."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  eggan study run loss-weights --dry-run               trials, hours, disk, the command that continues it
  eggan study run loss-weights --trials 30             AU skill above a floor of identity accuracy; prunes
  eggan study run loss-weights --objective pareto      AU error against identity accuracy
  eggan study run loss-weights --also critic_steps latent_dim learning_rate --workers 2
  eggan study run loss-weights --storage postgresql://me@host/eggan     the same line on every machine
  eggan study status loss-weights-constrained          every trial with its state and reason
"""
RUN_NOTES = """
The same command continues a study, whatever stopped it. Settings of the study are changed with
--set study.FIELD=VALUE (study.seeds=[0,1], study.startup_trials=8, study.min_resource=1600), those that the
search leaves alone with --set FIELD=VALUE. Trials 0 and 1 are the paper's weights and the preset's own.
"""


def register(subparsers: Any) -> None:
    """Add `eggan study`."""
    study = _parser(subparsers, "study", "search settings of a method on validation identities", EXAMPLES)
    actions = study.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_run(_parser(actions, "run", "run or continue a study", EXAMPLES + RUN_NOTES))
    status = _parser(actions, "status", "show the studies, or every trial of one", EXAMPLES)
    status.add_argument("name", nargs="?", help="a study (default: all, one line each)")
    status.add_argument("--storage", metavar="URL", help="the study's database, where its password is needed")
    _add_runs(status)
    status.set_defaults(run=show_status)
    sync = _parser(actions, "sync", "ship the trials of a study to the tracking store", EXAMPLES)
    sync.add_argument("name", help="the study")
    _add_runs(sync)
    _add_tracking(sync)
    sync.set_defaults(run=sync_study)


def _parser(subparsers: Any, name: str, text: str, examples: str) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text, epilog=examples, formatter_class=raw
    )
    return parser


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of results (default: runs)")


def _add_tracking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracking-uri", help="MLflow store (default: MLFLOW_TRACKING_URI or runs/mlflow.db)"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", help="search space: loss-weights")
    parser.add_argument("--name", help="the study's name (default: SPACE-OBJECTIVE)")
    parser.add_argument("--dry-run", action="store_true", help="print trials, hours and disk; run nothing")
    parser.add_argument("--objective", choices=["constrained", "pareto"], help="default: constrained")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="OPTION", help="critic_steps, latent_dim, learning_rate"
    )
    parser.add_argument("--trials", type=int, help="in all, over every worker and run (default: 30)")
    parser.add_argument("--images", type=int, help="a trial's budget of training images (default: 25600)")
    parser.add_argument("--identity-floor", type=float, metavar="PERCENT", help="default: 30")
    parser.add_argument("--method", help="default: eggan")
    parser.add_argument("--preset", help="what the space leaves alone (default: quick)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="assignments")
    parser.add_argument("--workers", type=int, default=1, help="processes; they share the cores (default: 1)")
    parser.add_argument(
        "--storage", metavar="URL", help="database shared by machines (default: a journal file)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: cpu)")
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="another dataset in place of SynFACS")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets (default: data)")
    parser.add_argument("--keep-weights", action="store_true", help="keep every trial's weights")
    parser.add_argument("--offline", action="store_true", help="track locally only; `sync` ships later")
    parser.add_argument("--worker-number", type=int, help=argparse.SUPPRESS)
    _add_runs(parser)
    _add_tracking(parser)
    parser.set_defaults(run=run_study)


def run_study(arguments: argparse.Namespace) -> int:
    """Run a study; 0 when it has its trials, 1 when some are left."""
    from benchmarks.launch import set_threads
    from studies.session import Session
    from studies.space import find_space

    find_space(arguments.space, arguments.also)
    set_threads(arguments.workers)
    session = Session.of(arguments)
    if arguments.worker_number is not None:
        return session.work_as(arguments.worker_number)
    if arguments.dry_run:
        print(session.plan())
        return 0
    status = session.run()
    print(session.summary())
    return status


def show_status(arguments: argparse.Namespace) -> int:
    """Print all studies, or one study's trials."""
    from studies.desk import study_folder
    from studies.listing import status_text, studies_text

    if arguments.name is None:
        print(studies_text(arguments.runs))
    else:
        print(status_text(study_folder(arguments.runs, arguments.name), arguments.storage))
    return 0


def sync_study(arguments: argparse.Namespace) -> int:
    """Ship a study's runs to the store."""
    from eggan import tracking
    from studies.desk import study_folder
    from studies.track import EXPERIMENT, ship_study

    store = tracking.open_store(arguments.tracking_uri, arguments.runs, EXPERIMENT)
    shipped = ship_study(study_folder(arguments.runs, arguments.name), store)
    print(f"{shipped} runs are up to date in {store.uri}")
    return 0
