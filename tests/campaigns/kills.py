"""100 times `kill -9` at a random moment in each kind of work, then the same command again.

    python -m tests.campaigns.kills [--kills 100] [--seed 0] [--only train bench ...] [--keep FOLDER]

Kinds of work: train, bench, study, render, report, sync, each on the smallest configuration of the tests.
Each is first run undisturbed. Then, over and over, in a folder of its own: it is started, killed at a random
moment of its usual duration, started again and left to end. Counted as faults, each with one line:

- the second run fails, or its results differ from the undisturbed run's in one bit (durations, dates and the
  names that MLflow draws at random do not count);
- a process of the killed run is alive ten seconds after the kill;
- a file or folder is left that the undisturbed run does not leave, or one is missing;
- a lock is held;
- for reports and renders: right after the kill the folder is neither the old one nor the new one.

Prints a table and ends with status 1 where there are faults. Takes about 15 minutes on one core; it is no
part of `make test`. A child is forked from this process, which has loaded everything, so that a kill hits the
work and hardly ever the imports.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

import eggan.tracking
import studies.worker  # noqa: F401
from eggan import files
from eggan.checkpoint import STATE_FILE
from eggan.data.dataset import load_dataset, write_dataset
from tests.campaigns.traces import difference, folder_hashes, left_in, steady, store_results, training_results

SHARES = {"train": 24, "sync": 20, "bench": 22, "study": 24, "render": 4, "report": 6}
STORE = "store"
GRACE_SECONDS = 10.0
MOST_SECONDS = 300.0
REPEATED = ("taker", "retry_of", "attempt")  # of a trial that repeats a dead one


@dataclass
class Work:
    """One kind: what has to be there before, what is killed, and what it makes.

    `results` returns plain values to compare; `whole` says whether what a reader finds right after a kill is
    old or new, never something between.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path], int]
    results: Callable[[Path], Any]
    whole: Callable[[Path], bool] = field(default=lambda root: True)


def main() -> int:
    """Run the campaign and return 0, or 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--keep", type=Path, help="keep the folders of disturbed runs with faults here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng, total = np.random.default_rng(arguments.seed), sum(SHARES[name] for name in arguments.only)
    rows, faults = [], []
    with tempfile.TemporaryDirectory() as scratch:
        eggan.tracking.open_store(
            None, Path(scratch) / STORE
        )  # MLflow loads most of itself with the first one
        for name in arguments.only:
            kills = max(1, round(arguments.kills * SHARES[name] / total))
            row, found = disturb(name, kills, rng, Path(scratch), arguments.keep)
            rows.append(row)
            faults += found
    print(pd.DataFrame(rows).to_string(index=False))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def disturb(
    name: str, kills: int, rng: np.random.Generator, scratch: Path, keep: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the table's row of a kind of work, and its faults."""
    work = WORKS[name](scratch / f"{name}-shared")
    clean = scratch / f"{name}-clean"
    for root in (scratch / f"{name}-warm", clean):  # the first one also fills caches of the machine
        root.mkdir()
        work.prepare(root)
        began = time.monotonic()
        status = wait(fork(work, root))
        usual = time.monotonic() - began
        if status != 0:
            raise SystemExit(f"{name}: the undisturbed run fails: {Path(f'{root}.log').read_text()}")
    wanted, names = work.results(clean), left_in(clean)
    struck, faults = 0, []
    for number in range(kills):
        root = scratch / f"{name}-{number}"
        root.mkdir()
        work.prepare(root)
        moment = float(rng.uniform(0.0, usual))
        hit, found = strike(work, root, moment, wanted, names)
        struck += hit
        faults += [f"{name} {number}, killed after {moment:.2f} s: {line}" for line in found]
        print(f"{name} {number}: {moment:.2f} s {'; '.join(found) or 'right'}", file=sys.stderr, flush=True)
        if found and keep:
            shutil.copytree(root, keep / root.name, dirs_exist_ok=True)
        shutil.rmtree(root)
    row = {"work": name, "usual s": round(usual, 1), "kills": kills, "hit": struck}
    kinds = ("fails", "differs", "orphan", "left", "lock", "torn")
    return row | {kind: sum(f": {kind}" in fault for fault in faults) for kind in kinds}, faults


def give_store(root: Path) -> None:
    """Put an empty store into a runs folder, as most commands find one: making it takes seconds."""
    (root / "runs").mkdir(exist_ok=True)
    shutil.copy(root.parent / STORE / "mlflow.db", root / "runs")


def strike(work: Work, root: Path, moment: float, wanted: Any, names: set[str]) -> tuple[bool, list[str]]:
    """Kill a run at a moment, run it again, and return whether it was hit, and what is wrong."""
    child = fork(work, root)
    deadline = time.monotonic() + moment
    hit = True
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            hit = False
            break
        time.sleep(0.002)
    family = [member.pid for member in psutil.Process(child).children(recursive=True)] if hit else []
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    faults = [] if work.whole(root) else ["torn: what a reader finds is neither old nor new"]
    faults += [f"orphan: process {pid} lives" for pid in survivors(family)]
    if wait(fork(work, root)) != 0:
        return hit, [*faults, f"fails: {Path(f'{root}.log').read_text()[-300:]!r}"]
    got = work.results(root)
    if got != wanted:
        faults.append(f"differs: {difference(wanted, got)}")
    extra, missing = left_in(root) - names, names - left_in(root)
    faults += [f"left: {', '.join(sorted(extra)[:4])}"] if extra else []
    faults += [f"left: lacks {', '.join(sorted(missing)[:4])}"] if missing else []
    held = [str(path) for path in root.rglob("*lock") if path.is_file() and files.is_locked(path)]
    return hit, faults + ([f"lock: {held[0]} is held"] if held else [])


def fork(work: Work, root: Path) -> int:
    """Start the work in a child process and return its number; what it prints goes to a log beside `root`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(f"{root}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(root)
        status = work.run(root)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def wait(child: int) -> int:
    """Return the exit status of a child; one that does not end is killed, which is status -9."""
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def survivors(family: list[int]) -> list[int]:
    """Return the processes that live on after a while."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        family = [pid for pid in family if psutil.pid_exists(pid)]
        if not family:
            return []
        time.sleep(0.1)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return family


# --- results


def training(shared: Path) -> Work:
    """`eggan train`, two steps between checkpoints, tracked in a store; again with --resume where it can."""
    from tests.conftest import TINY_TRAINING, tiny_manifest

    def prepare(root: Path) -> None:
        manifest = tiny_manifest()
        images = np.random.default_rng(1).integers(0, 256, (len(manifest), 64, 64, 3), dtype=np.uint8)
        write_dataset(root / "tiny", "tiny", manifest, images, seed=0, parameters={}, version="1")
        give_store(root)

    def run(root: Path) -> int:
        from eggan.cli import main as eggan

        often = {"images": "24", "log_every": "2", "probe_every": "4", "checkpoint_every_seconds": "0"}
        words = [word for key, value in often.items() for word in ("--set", f"training.{key}={value}")]
        again = ["--resume"] if (root / "m" / STATE_FILE).exists() else []
        given = ["train", "eggan", "--dataset", "tiny", "--preset", "quick", "--device", "cpu", "--out", "m"]
        return eggan([*given, *TINY_TRAINING, *words, *again])

    def results(root: Path) -> Any:
        return [training_results(root / "m"), store_results(root / "runs", "eggan-single")]

    return Work(prepare, run, results)


def bench(shared: Path) -> Work:
    """`eggan bench run` of a suite with one method that learns and two references, tracked in a store."""
    from benchmarks.running.bench_session import BenchSession
    from tests.benchmarks import fakes

    fakes.make_bench(shared)
    frequent = dataclasses.replace(fakes.TRAINING, checkpoint_every_seconds=0.0)

    suite = fakes.tiny_suite(training=frequent)
    suite = dataclasses.replace(suite, rows=suite.rows[:3])

    def prepare(root: Path) -> None:
        shutil.copytree(shared, root, dirs_exist_ok=True)
        give_store(root)

    def run(root: Path) -> int:
        return BenchSession(suite, fakes.make_bench(root), [], [], []).run()

    def results(root: Path) -> Any:
        cells = {}
        for folder in sorted((root / "runs" / "cells").iterdir()):
            kept = folder_hashes(folder / "scores") | folder_hashes(folder / "images")
            kept.pop("summary.json", None)
            summary = steady(json.loads((folder / "scores" / "summary.json").read_text()))
            status = json.loads((folder / "cell.json").read_text())
            learned = training_results(folder) if (folder / STATE_FILE).exists() else None
            cells[folder.name] = [status["state"], status["reason"], summary, kept, learned]
        return [cells, store_results(root / "runs", "eggan-benchmark")]

    return Work(prepare, run, results)


def study(shared: Path) -> Work:
    """A study of four trials, as `eggan study run` runs it: create or open, put right, work, settle."""
    from eggan import tracking
    from eggan.tracking.address import STUDIES
    from studies.sampling import StandingStudy
    from studies.storage.liveness import Watch, close_stale
    from studies.storage.trial_tracking import open_study_run, settle_all
    from studies.storage.trials import queue_forgotten
    from studies.worker import Worker
    from tests.studies import study_context as small

    small.TRAINING = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
    settings = {"trials": 5, "startup_trials": 5, "max_retries": 3}
    small.make_context(shared, **settings)

    def prepare(root: Path) -> None:
        shutil.copytree(shared / "faces", root / "faces")
        give_store(root)

    def run(root: Path) -> int:
        store = tracking.open_store(None, root / "runs", STUDIES)
        context = small.make_context(root, **settings)
        opened = small.make_study(context)
        close_stale(opened, context.study, Watch(context.folder))
        queue_forgotten(opened, context.study)
        settle_all(opened, context.folder, None)
        record = open_study_run(context, opened, store)
        Worker(context, opened, store).run()
        settle_all(opened, context.folder, store)
        record.finish("finished")
        return 0

    def results(root: Path) -> Any:
        standing = StandingStudy(small.make_study(small.make_context(root, **settings))).get_trials()
        attrs = [
            {name: v for name, v in trial.user_attrs.items() if name not in REPEATED} for trial in standing
        ]
        stored = [[t.state.name, t.params, t.values, t.intermediate_values, t.constraints] for t in standing]
        return steady(json.loads(json.dumps([stored, attrs])))

    return Work(prepare, run, results)


def rendering(shared: Path) -> Work:
    """`eggan data build synfacs` with two workers, twelve pictures."""

    def run(root: Path) -> int:
        from eggan.cli import main as eggan

        small = ["--identities", "3", "--images-per-identity", "4", "--size", "64", "--seed", "5"]
        return eggan(
            ["data", "build", "synfacs", "--split", "dense", *small, "--workers", "2", "--out", "made"]
        )

    def whole(root: Path) -> bool:
        return not (root / "made").exists() or len(load_dataset(root / "made").images) == 12

    return Work(lambda root: None, run, lambda root: folder_hashes(root / "made"), whole)


def reporting(shared: Path) -> Work:
    """`eggan report build` over an earlier report of other runs."""
    from reports.style import figure_style
    from reports.suite import estimates
    from reports.suite.suite_report import build
    from tests.benchmarks.fakes import silent
    from tests.reports.fakes import make_frame

    estimates.RESAMPLES = estimates.DIFFERENCE_RESAMPLES = 100
    figure_style.DPI = 50
    frame = make_frame(seeds=1)
    build(make_frame(seeds=1, failed=False), shared / "old", silent)
    old = folder_hashes(shared / "old")
    new: list[dict[str, str]] = []

    def run(root: Path) -> int:
        build(frame, root / "report", silent)
        return 0

    def results(root: Path) -> Any:
        new.append(folder_hashes(root / "report"))
        return new[-1]

    def whole(root: Path) -> bool:
        return folder_hashes(root / "report") in [old, *new[:1]]

    return Work(lambda root: shutil.copytree(shared / "old", root / "report") and None, run, results, whole)


def syncing(shared: Path) -> Work:
    """`eggan bench sync` of a suite that was run offline."""
    from benchmarks.running.bench_session import BenchSession
    from benchmarks.running.suite_run import sync
    from eggan import tracking
    from tests.benchmarks import fakes

    bench = fakes.make_bench(shared)
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        suite = fakes.tiny_suite()
        BenchSession(dataclasses.replace(suite, rows=suite.rows[:3]), bench, [], [], [], offline=True).run()

    def run(root: Path) -> int:
        sync(root / "runs", tracking.open_store(None, root / "runs"))
        return 0

    def results(root: Path) -> Any:
        return store_results(root / "runs", "eggan-benchmark")

    return Work(lambda root: shutil.copytree(shared, root, dirs_exist_ok=True) and None, run, results)


WORKS: dict[str, Callable[[Path], Work]] = {
    "train": training,
    "bench": bench,
    "study": study,
    "render": rendering,
    "report": reporting,
    "sync": syncing,
}


if __name__ == "__main__":
    sys.exit(main())
