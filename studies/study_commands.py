"""`eggan study`. Heavy imports wait until a command runs, so that `--help` is quick."""

import argparse
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from benchmarks.bench_commands import add_instruments, print_synced
from eggan.cluster.connection import add_cluster_arguments
from eggan.options import (
    add_command,
    add_data_argument,
    add_device_argument,
    add_runs_argument,
    add_setting_argument,
    add_tracking_argument,
    command,
    number_of_images,
)
from eggan.outputs import add_force_argument, check_output, is_sealed
from eggan.progress import loading

# Each entry is a function register(actions) that adds one action to `eggan study`.
ACTIONS = "eggan.study_actions"
EXAMPLES = """examples:
  eggan study run loss-weights --dry-run               trials, hours, disk, the command that continues it
  eggan study run loss-weights --trials 30             AU skill above a floor of identity accuracy; prunes
  eggan study run loss-weights --objective pareto      AU error against identity accuracy
  eggan study run warp-weights --trials 30             EGGAN-W's weights, on SynFACS' crowd
  eggan study run loss-weights --also critic_steps latent_dim learning_rate --workers 2
  eggan study run loss-weights --storage postgresql://me@host/eggan     the same line on every machine
  eggan study run loss-weights --storage postgresql://me@host/eggan --cluster tcp://10.0.0.1:8786 --workers 8
  eggan study status loss-weights-constrained          every trial with its state and reason
  eggan study confirm loss-weights-constrained --best 3 --seeds 101 102 103     are the best still good?
  eggan study ranks loss-weights-constrained --trials 0 5 12 --images 76800     does more training agree?
  eggan study report loss-weights-constrained          figures, tables, one page
  eggan study report --frame reports/results/loss-weights-pareto     of a study that comes with the project
  eggan study best loss-weights-constrained --export tuned.toml
  eggan study dashboard loss-weights-constrained       optuna-dashboard on this machine
  eggan study export loss-weights-constrained kept     all that its report needs, as files
  eggan study sync loss-weights-constrained            ship what was tracked offline
"""
RUN_NOTES = """
The same command continues a study, whatever stopped it. Settings of the study are changed with
--set study.FIELD=VALUE (study.seeds=[0,1], study.startup_trials=8, study.min_resource=1600), those that the
search leaves alone with --set FIELD=VALUE. A space has its method: loss-weights searches EGGAN's five
weights, warp-weights EGGAN-W's beside weight_pixels, on SynFACS' crowd. Trials 0 and 1 are the paper's
weights and the preset's own; of warp-weights, for which no paper gives any, trial 0 is the preset's.
"""
BEST_NOTES = """
The best of one objective has the highest AU skill above the floor of identity accuracy. Of two it is the
knee: the trial of the Pareto front that is nearest to the front's best values of both scores, each scaled
to the front's range. Choose another with --trial.
"""


def register(subparsers: Any) -> None:
    """Add `eggan study`."""
    study = add_command(subparsers, "study", "search settings of a method on validation identities", EXAMPLES)
    actions = study.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_run(add_command(actions, "run", "run or continue a study", EXAMPLES + RUN_NOTES))
    status = add_command(actions, "status", "show the studies, or every trial of one", EXAMPLES)
    add_study_arguments(status, nargs="?", help="a study (default: all, one line each)")
    status.set_defaults(run=show_status)
    _add_reruns(actions)
    _add_reading(actions)
    sync = add_command(actions, "sync", "ship the trials of a study to the tracking store", EXAMPLES)
    sync.add_argument("name", help="the study")
    add_runs_argument(sync)
    add_tracking_argument(sync)
    sync.set_defaults(run=sync_study)


def add_study_arguments(parser: argparse.ArgumentParser, **name: Any) -> None:
    """Add what names a study that exists: NAME, of which argparse is given `name`, `--runs`, `--storage`."""
    parser.add_argument("name", **({"help": "the study"} | name))
    add_runs_argument(parser)
    parser.add_argument(
        "--storage", metavar="URL", help="the study's database with its password, where it needs one"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", help="search space: loss-weights (EGGAN), warp-weights (EGGAN-W)")
    parser.add_argument("--name", help="the study's name (default: SPACE-OBJECTIVE)")
    parser.add_argument("--dry-run", action="store_true", help="print trials, hours and disk; run nothing")
    parser.add_argument(
        "--objective",
        choices=["constrained", "pareto"],
        help="AU skill above a floor of identity accuracy, or both against each other (default: constrained)",
    )
    parser.add_argument(
        "--also",
        nargs="+",
        default=[],
        metavar="OPTION",
        help="search these too: learning_rate; of loss-weights critic_steps, latent_dim too",
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="how many in all, over every worker and run (default: 30)"
    )
    parser.add_argument(
        "--images",
        type=number_of_images,
        metavar="N",
        help="a trial's budget of training images (default: 25600, or 9600 after a longer warm start)",
    )
    parser.add_argument(
        "--identity-floor",
        type=float,
        metavar="PERCENT",
        help="least identity accuracy of a trial that counts (default: 30, warp-weights 95; pareto: none)",
    )
    parser.add_argument("--method", help="the method whose settings are searched (default: the space's)")
    parser.add_argument("--preset", help="what the space leaves alone (default: quick, warp-weights cpu)")
    add_setting_argument(parser, "change a setting that the search leaves alone, or study.FIELD")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="trials at a time; they share the cores (default: 1)",
    )
    parser.add_argument(
        "--storage", metavar="URL", help="database shared by machines (default: a journal file)"
    )
    add_cluster_arguments(parser)
    _add_machine(parser)
    add_runs_argument(parser)
    add_tracking_argument(parser)
    parser.set_defaults(run=run_study, as_worker=False)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add_device_argument(parser)
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="another dataset in place of SynFACS")
    add_instruments(parser)
    add_data_argument(parser)
    parser.add_argument("--keep-weights", action="store_true", help="keep the weights of every training")
    parser.add_argument(
        "--offline", action="store_true", help="track locally only; `eggan study sync` ships later"
    )


def _add_reruns(actions: Any) -> None:
    """Add `confirm` and `ranks`; started twice they share the work."""
    confirm = add_command(actions, "confirm", "train the best trials again on fresh seeds", EXAMPLES)
    add_study_arguments(confirm)
    which = confirm.add_mutually_exclusive_group()
    which.add_argument(
        "--best",
        type=int,
        default=3,
        metavar="K",
        help="the K best trials, and the paper's and the preset's own (default: 3)",
    )
    which.add_argument("--trials", type=int, nargs="+", metavar="N", help="these trials and no others")
    confirm.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[101, 102, 103],
        metavar="SEED",
        help="seeds that no trial was trained with (default: 101 102 103)",
    )
    confirm.set_defaults(run=run_reruns, action_name="confirm", images=None)
    ranks = add_command(
        actions, "ranks", "train trials again on another budget and compare the ranks", EXAMPLES
    )
    add_study_arguments(ranks)
    ranks.add_argument(
        "--trials",
        type=int,
        nargs="+",
        required=True,
        metavar="N",
        help="these trials; two or more have ranks",
    )
    ranks.add_argument(
        "--images",
        type=number_of_images,
        required=True,
        metavar="N",
        help="the other budget of training images",
    )
    ranks.add_argument(
        "--seeds", type=int, nargs="+", metavar="SEED", help="seeds to train with (default: the study's)"
    )
    ranks.set_defaults(run=run_reruns, action_name="ranks", best=0)
    for parser in (confirm, ranks):
        parser.add_argument(
            "--dry-run", action="store_true", help="print trainings, hours, disk; run nothing"
        )
        _add_machine(parser)
        add_tracking_argument(parser)


def _add_reading(actions: Any) -> None:
    """Add what only reads a study: `export`, `best`, `dashboard`, and what packages above this one add."""
    for entry in entry_points(group=ACTIONS):
        entry.load()(actions)
    export = add_command(actions, "export", "write all of a study that reports need to a folder", EXAMPLES)
    add_study_arguments(export)
    export.add_argument("folder", type=Path, help="where to write: a new folder, or an earlier export")
    export.set_defaults(run=export_study)
    best = add_command(
        actions, "best", "show the best trial, and write it as a config", EXAMPLES + BEST_NOTES
    )
    add_study_arguments(best)
    best.add_argument("--trial", type=int, metavar="N", help="this trial in place of the best")
    best.add_argument(
        "--export", type=Path, metavar="FILE", help="write it as TOML for `eggan train METHOD --config FILE`"
    )
    add_force_argument(best)
    best.add_argument(
        "--only-searched", action="store_true", help="write the fields that were searched, and no others"
    )
    best.set_defaults(run=show_best)
    board = add_command(actions, "dashboard", "open optuna-dashboard on this machine", EXAMPLES)
    add_study_arguments(board)
    board.add_argument("--port", type=int, default=8080, help="port (default: 8080)")
    board.set_defaults(run=show_dashboard)


def run_study(arguments: argparse.Namespace) -> int:
    """Run a study; 0 when it has its trials, 1 when some are left."""
    with loading():
        from eggan.startup import set_threads
        from studies.space import find_space
        from studies.study_session import StudySession

    find_space(arguments.space, arguments.also)
    set_threads(arguments.workers)
    session = StudySession.of(arguments)
    if arguments.as_worker:
        return session.work()
    if arguments.dry_run:
        print(session.plan())
        return 0
    status = session.run()
    print(session.summary())
    return status


def show_status(arguments: argparse.Namespace) -> int:
    """Print all studies, or one study's trials."""
    with loading():
        from studies.study_config import study_folder
        from studies.study_console import status_text, studies_text

    if arguments.name is None:
        print(studies_text(arguments.runs))
    else:
        print(status_text(study_folder(arguments.runs, arguments.name), arguments.storage))
    return 0


def sync_study(arguments: argparse.Namespace) -> int:
    """Ship a study's runs to the store."""
    with loading():
        from eggan import tracking
        from studies.storage.trial_tracking import ship_study
        from studies.study_config import read_spec, study_folder

    folder = study_folder(arguments.runs, arguments.name)
    read_spec(folder)  # a study that is not there is said before a store is opened
    store = tracking.open_store(arguments.tracking_uri, arguments.runs, tracking.STUDIES)
    print_synced(ship_study(folder, store), store)
    return 0


def run_reruns(arguments: argparse.Namespace) -> int:
    """Train trials again; 0 when all have ended, 1 when one failed or another process holds some."""
    with loading():
        from eggan.startup import set_threads
        from studies.reruns.rerun_session import RerunSession

    set_threads(1)
    session = RerunSession.of(arguments)
    if arguments.dry_run:
        print(session.plan())
        return 0
    return session.run()


def opened_study(arguments: argparse.Namespace) -> Any:
    """Return the `StudyData` that NAME, `--runs` and `--storage` name."""
    with loading():
        from studies.study_config import study_folder
        from studies.study_export import read_study

    return read_study(study_folder(arguments.runs, arguments.name), arguments.storage)


def export_study(arguments: argparse.Namespace) -> int:
    """Export a study."""
    with loading():
        from studies.study_export import check_export_folder, write_frame

    check_export_folder(arguments.folder)
    print(f"study written to {write_frame(opened_study(arguments), arguments.folder)}")
    return 0


def show_best(arguments: argparse.Namespace) -> int:
    """Print the best trial; write it as a config where that is asked for."""
    with loading():
        from eggan.files import write_text
        from studies.selection import best_text, config_text, pick

    if arguments.export:
        check_output(arguments.export, [], is_sealed, arguments.force)
    data = opened_study(arguments)
    row = pick(data, arguments.trial)
    print(best_text(data, row))
    if arguments.export:
        write_text(config_text(data, row, arguments.only_searched), arguments.export)
        file = shlex.quote(str(arguments.export))
        words = f"train {data.spec.study.method} --dataset FOLDER --config {file}"
        print(f"train with it: {command(words)}")
    return 0


def show_dashboard(arguments: argparse.Namespace) -> int:
    """Serve optuna-dashboard until Ctrl-C."""
    from studies.dashboard import serve
    from studies.study_config import study_folder

    return serve(study_folder(arguments.runs, arguments.name), arguments.storage, arguments.port)
