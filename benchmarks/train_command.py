"""`eggan train`: one method trained on one dataset, beside the suites."""

import argparse
import io
import shlex
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.files import lock_holder, try_lock
from eggan.options import (
    add_command,
    add_device_argument,
    add_offline_argument,
    add_runs_argument,
    add_setting_argument,
    add_tracking_argument,
    command,
    resolve_device,
)
from eggan.progress import loading

if TYPE_CHECKING:  # torch takes more than a second to import; `eggan --help` must not
    from eggan.data.dataset import Dataset
    from eggan.tracking import Store, TrackedRun
    from eggan.training import TrainingResult
    from eggan.training_run import TrainingRun

TRAININGS = "single"  # folder of trainings in --runs
LOCK = ".lock"  # in a training's folder: held while it is trained in
TRAIN_EXAMPLE = """examples:
  eggan train eggan --dataset data/synfacs-twin-64px-s0 --preset cpu
  eggan train eggan --dataset FOLDER --preset cpu --set weight_au=50 --set training.images=80000
  eggan train eggan --dataset FOLDER --preset cpu --resume
  eggan train eggan-w --dataset data/synfacs-crowd-128px-s0 --preset paper --start eggan_w_64
  torchrun --nproc-per-node 4 -m -- eggan train eggan --dataset FOLDER --preset paper   a batch over four GPUs
A TOML file for --config has the tables [method] and [training]; what it leaves out comes from the preset."""


def register_train(subparsers: Any) -> None:
    """Add `eggan train`."""
    parser = add_command(subparsers, "train", "train one method on one dataset", TRAIN_EXAMPLE)
    parser.add_argument("method", metavar="METHOD", help="a trainable method, such as eggan")
    parser.add_argument("--dataset", type=Path, required=True, metavar="FOLDER", help="dataset to learn from")
    parser.add_argument(
        "--preset",
        default="cpu",
        help="the method's own, such as paper, cpu or quick: a wrong one lists them (default: cpu)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file whose values replace the preset's"
    )
    add_setting_argument(parser, "change a setting; those of the loop are training.FIELD")
    parser.add_argument("--seed", type=int, default=0, help="decides every draw (default: 0)")
    add_device_argument(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the checkpoint (default: one below single in --runs)",
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="begin with the weights of another training: its folder, its name in --runs, or the name of "
        "shipped weights; EGGAN-W grows those of half the image size, widens those of fewer channels",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training in its folder")
    add_runs_argument(parser)
    add_tracking_argument(parser)
    add_offline_argument(parser)
    parser.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace) -> int:
    """Train, track, leave a checkpoint; return 0, or 130 when stopped by a signal after saving."""
    with loading():
        from benchmarks.edit_command import trained_folder
        from benchmarks.suites.presets import resolve, trainable
        from eggan.data.dataset import load_dataset
        from eggan.distributed import joined, processes
        from eggan.training_run import TrainingRun, check_data
        from eggan.training_start import read_start

    entry = trainable(arguments.method)
    config = resolve(entry, arguments.preset, arguments.config, arguments.assignments)
    dataset, seed = load_dataset(arguments.dataset), arguments.seed
    check_data(entry, config.method, dataset, config.training.splits)
    folder = arguments.out or default_folder(arguments.runs, entry.name, dataset, seed)
    start = None
    if arguments.start is not None:
        start = read_start(str(trained_folder(arguments.start, arguments.runs)))
        start.weights_for(entry, config.method)
    with joined(resolve_device(arguments.device)) as device:
        cache = arguments.runs / "cache"
        run = TrainingRun(entry, config.method, config.training, dataset, seed, device, cache, start=start)
        return _lead(run, folder, arguments) if processes().leads else _assist(run, folder)


def _lead(run: "TrainingRun", folder: Path, arguments: argparse.Namespace) -> int:
    """Train in the only process, or in the one that tracks, saves and prints."""
    from eggan import tracking

    check_folder(folder, arguments.resume)
    run.check_earlier(folder)  # before the record of the training that is there is written over
    store = None  # all that can be refused comes before the lock, which makes the folder
    if not arguments.offline:
        store = tracking.open_store(arguments.tracking_uri, arguments.runs, tracking.SINGLE)
    with try_lock(folder / LOCK) as ours:
        if not ours:
            holder = lock_holder(folder / LOCK) or "a process that has just ended"
            raise UserError(f"{folder} is being trained in by {holder}: wait for it, or choose another --out")
        return _train_and_report(run, folder, store, arguments.runs)


def _assist(run: "TrainingRun", folder: Path) -> int:
    """Train in a further process of `torchrun`: silently, since the leader speaks for all."""
    from eggan.training import Interrupted, TrainingFailed
    from eggan.training_run import run_training

    try:
        with redirect_stderr(io.StringIO()):
            run_training(run, folder, on_log=lambda _step, _values: None)
    except Interrupted:
        return 130
    except TrainingFailed:
        return 2
    return 0


def _train_and_report(run: "TrainingRun", folder: Path, store: "Store | None", runs: Path) -> int:
    from eggan.training import TARGET_IGNORED, Interrupted

    try:
        result = _train_tracked(run, folder, store)
    except Interrupted as stopped:
        print(f"{stopped} (with --resume); the state is in {folder}")
        return 130
    if TARGET_IGNORED in result.alarms:
        print(
            f"collapse alarm ({TARGET_IGNORED}): edits hardly differed between targets at some check; look "
            "at edits before you rely on them, and train longer where they are copies of the source"
        )
    print(
        f"{result.images_seen} images in {result.seconds:.0f} s ({result.images_per_second:.1f} per second)"
    )
    if store is None:
        print("tracked in its folder only; ship it:", command(sync_words(runs, folder)))
    print("edit with it:", command(f"edit IMAGE --au 12=4 --checkpoint {shlex.quote(str(folder))}"))
    return 0


def sync_words(runs: Path, folder: Path) -> str:
    """Return the command that ships a training's run; one outside `runs` is named."""
    return "bench sync" if folder.is_relative_to(runs) else f"bench sync {shlex.quote(str(folder))}"


def default_folder(runs: Path, method: str, dataset: "Dataset", seed: int) -> Path:
    """Return where a training goes when the user names no folder; other images, another folder."""
    images = f"{dataset.name}-{dataset.size}-{dataset.content_hash[:8]}"
    return runs / TRAININGS / f"{method}-{images}-s{seed}"


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse to write over a training or over other files, and to resume where there is none."""
    from eggan.checkpoint import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
    from eggan.outputs import check_output_folder, refuse_existing
    from eggan.tracking import read_record
    from eggan.tracking.record import METRICS_FILE, SHIPPED_FILE

    check_output_folder(folder)
    exists = (folder / STATE_FILE).is_file()
    if exists and not resume:
        raise UserError(f"{folder} already holds a training: add --resume to go on, or choose another --out")
    if resume and not exists:
        raise UserError(f"nothing to resume: {folder} holds no training state")
    if not exists and read_record(folder) is None:  # a training that was stopped early has left its record
        refuse_existing(folder, (WEIGHTS_FILE, CONFIG_FILE, METRICS_FILE, SHIPPED_FILE), "training")


def _train_tracked(run: "TrainingRun", folder: Path, store: "Store | None") -> "TrainingResult":
    """Train under tracking: whatever happens, the run's final state and its reason are recorded."""
    from eggan.signals import stop_as_interrupt
    from eggan.training import Interrupted, TrainingFailed
    from eggan.training_run import run_training

    tracked = _open_run(run, folder, store)
    try:
        with stop_as_interrupt():  # while the method is built; the training saves first
            trained = run_training(
                run,
                folder,
                on_log=lambda step, values: tracked.log(step, {f"train/{k}": v for k, v in values.items()}),
            )
    except (Interrupted, KeyboardInterrupt) as stopped:
        tracked.finish("interrupted", str(stopped))
        raise
    except TrainingFailed as failure:
        tracked.finish("failed", str(failure))
        raise UserError(f"the training failed: {failure}") from None
    except Exception as error:
        tracked.finish("failed", str(error) or type(error).__name__)
        raise
    tracked.finish("finished")
    return trained.result


def _open_run(run: "TrainingRun", folder: Path, store: "Store | None") -> "TrackedRun":
    from eggan import tracking
    from eggan.checkpoint import STATE_FILE
    from eggan.config import to_dict

    if not (folder / STATE_FILE).is_file():
        tracking.put_aside(folder)
    method, dataset = run.entry.name, run.dataset
    labels = {
        "kind": "training",
        "suite": "single",
        "dataset": dataset.name,
        "method": method,
        "seed": str(run.seed),
    }
    settings = {"method": to_dict(run.config), "training": to_dict(run.training)}
    if run.start is not None:
        settings["start"] = {"weights": run.start.name, "sha256": run.start.sha256}
    record = tracking.RunRecord(
        name=f"{method}/{dataset.name}/s{run.seed}",
        tags=labels | tracking.code_version() | tracking.describe_machine(run.device),
        params=tracking.flat_params(settings),
        datasets=[{"name": dataset.name, "digest": dataset.content_hash, "context": "train"}],
        artifacts=["weights.safetensors", "config.json"],
    )
    return tracking.TrackedRun(folder, record, store)
