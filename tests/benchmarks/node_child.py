"""What a cell's process on a node runs in tests: the fakes in the place of suite, methods and instruments."""

import argparse
import dataclasses
import os
import signal
from unittest.mock import patch

from benchmarks.bundle import cell_workers
from benchmarks.running.environment import BenchEnvironment
from benchmarks.suites.suite import Row, Suite
from tests.benchmarks.fakes import TRAINING, FakeConfig, PaintingMethod, fake_entry, make_bench, tiny_suite


class KillingMethod(PaintingMethod):
    """Ends its process at once, as the system does where memory is short."""

    def update(self, batch, step):
        os.kill(os.getpid(), signal.SIGKILL)


def suite(_name: str = "") -> Suite:
    """Return a suite of one method, and one that kills its process."""
    training = dataclasses.replace(TRAINING, log_every=1000, probe_every=100_000)
    rows = (Row("killer", "good", training), Row("painter", "good", training))
    return dataclasses.replace(tiny_suite(), rows=rows)


def bench_of(arguments: argparse.Namespace) -> BenchEnvironment:
    """Return the fakes over the folder of results."""
    killing = dataclasses.replace(
        fake_entry(),
        name="killer",
        presets={"good": FakeConfig()},
        build=lambda config, context: KillingMethod(config),
    )
    bench = make_bench(arguments.out)
    return dataclasses.replace(bench, methods={**bench.methods, "killer": killing})


def run_one(arguments: argparse.Namespace) -> int:
    """As `cell_workers.run_one`."""
    with patch.multiple(cell_workers, find_suite=suite, bench_of=bench_of):
        return cell_workers.run_one(arguments)
