"""`eggan bench run` of the tiny suite, as a command for a worker's process: each step takes a while."""

import argparse
import dataclasses
import os
import time
from pathlib import Path

from benchmarks.running.bench_session import BenchSession
from benchmarks.running.environment import BenchEnvironment
from benchmarks.suites.methods import METHODS
from benchmarks.suites.suite import Suite
from eggan.child_process import end_with_parent
from tests.benchmarks.fakes import (
    TRAINING,
    PaintingMethod,
    fake_entry,
    fake_instruments,
    make_dataset,
    render,
    silent,
    tiny_suite,
)

STEP_SECONDS = "TINY_STEP_SECONDS"
EVERY_STEP = dataclasses.replace(TRAINING, checkpoint_every_seconds=0.0)


def bench_of(runs: Path, dataset: Path) -> BenchEnvironment:
    return BenchEnvironment(
        runs=runs,
        dataset=dataset,
        workers=1,
        progress=silent,
        methods={**METHODS, "painter": fake_entry()},
        instruments=fake_instruments,
        render=render,
    )


def suite() -> Suite:
    return tiny_suite(training=EVERY_STEP)


def arguments_of(runs: Path, dataset: Path) -> argparse.Namespace:
    return argparse.Namespace(
        run=run, runs=runs, dataset=dataset, device="cpu", verifier="auto", cell=[], tracking_uri=None
    )


def session(root: Path, **options) -> BenchSession:
    """Return the session of a client below `root`, with its painted faces there."""
    if not (root / "faces").exists():
        make_dataset(root / "faces", {"train": 2, "val": 1, "test": 3})
    arguments = arguments_of(root / "runs", root / "faces")
    only = options.pop("only", [])
    return BenchSession(
        suite(), bench_of(root / "runs", root / "faces"), only, [], [], arguments=arguments, **options
    )


def run(arguments: argparse.Namespace) -> int:
    """Run one cell where a worker put its files."""
    end_with_parent()
    update = PaintingMethod.update

    def slow(self, batch, step):
        time.sleep(float(os.environ.get(STEP_SECONDS, 0)))
        return update(self, batch, step)

    PaintingMethod.update = slow
    bench = bench_of(arguments.runs, arguments.dataset)
    return BenchSession(suite(), bench, [], [], arguments.cell, offline=True, arguments=arguments).run()
