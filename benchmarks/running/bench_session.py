"""One `eggan bench run`: from its arguments to the printed summary."""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.protocol.true_edits import NO_TRUTH
from benchmarks.running.bench_console import missing_datasets_text, plan_text, summary_text, unmeasured_lines
from benchmarks.running.cells import PlannedCell, claimed_by, former_cells, is_claimed
from benchmarks.running.environment import (
    BenchEnvironment,
    OpenSuite,
    missing_roles,
    named_dataset,
    open_suite,
    suite_datasets,
)
from benchmarks.running.suite_run import (
    open_suite_run,
    plan_suite,
    run_cell,
    select,
    state_of_cells,
    with_key,
)
from benchmarks.scoring.instrument_choice import InstrumentChoice
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.equal_images import check_warm_starts, with_images
from benchmarks.suites.former_names import STANDARD, TWIN_SUITE, present_method
from benchmarks.suites.methods import find_method
from benchmarks.suites.suite import TWIN, Suite, find_suite
from eggan import tracking
from eggan.cluster.connection import ClusterChoice
from eggan.data.dataset import Dataset
from eggan.errors import UserError
from eggan.files import Holder, check_writable
from eggan.machine import default_workers
from eggan.method import MethodEntry
from eggan.options import AUTO, command, resolve_device
from eggan.signals import resumable
from eggan.tracking.address import check_named
from eggan.trained_networks import check_true_edits

FAILED_CELLS = 1
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class BenchSession:
    """The choices of one command; `suite` has the rows that were added, `arguments` are the command's own."""

    suite: Suite
    bench: BenchEnvironment
    only: list[str]
    seeds: list[int]
    keys: list[str]
    offline: bool = False
    tracking_uri: str | None = None
    wait: bool = False
    arguments: argparse.Namespace = field(default_factory=argparse.Namespace)
    cluster: ClusterChoice | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "BenchSession":
        """Read the arguments of `eggan bench run`; every mistake in them is found before anything is
        rendered.
        """
        suite = find_suite(arguments.suite)
        if suite.name != arguments.suite:
            print(f"the suite {arguments.suite} is called {suite.name} now", file=sys.stderr)
        cluster = ClusterChoice.of(arguments, arguments.processes)
        away = cluster is not None and not cluster.is_local  # a cell's device is chosen where it runs
        bench = BenchEnvironment(
            runs=arguments.runs,
            data=arguments.data,
            device=resolve_device(AUTO if away else arguments.device),
            dataset=named_dataset(arguments.dataset, arguments.data, suite.image_size),
            choice=InstrumentChoice.of(arguments),
            workers=arguments.workers or default_workers(),
        )
        suite = with_added_rows(suite, arguments.add, bench.methods, bench.dataset)
        if arguments.images is not None:
            suite = with_images(suite, arguments.images)
        only = [present_method(name) for name in arguments.only]
        check_warm_starts((row for row, _ in suite.chosen(only, arguments.seed)), bench.methods)
        return cls(
            suite=suite,
            bench=bench,
            only=only,
            seeds=arguments.seed,
            keys=arguments.cell,
            offline=arguments.offline,
            tracking_uri=arguments.tracking_uri,
            wait=arguments.wait,
            arguments=arguments,
            cluster=cluster,
        )

    def dry_run(self) -> int:
        """Print what `run` would do, or say why it would refuse to."""
        self._check()
        missing = missing_roles(self.suite, self.bench)
        if missing:
            cells = self.suite.chosen(self.only, self.seeds)
            print(missing_datasets_text(self.suite, cells, missing, self.bench))
            return 0
        opened = open_suite(self.suite, self.bench, build=False)
        print(plan_text(self._chosen(plan_suite(opened), opened), self.bench))
        self._print_former_cells()
        _print_notes(opened)
        return 0

    @resumable()
    def run(self) -> int:
        """Run the chosen cells and print a summary; return 0, or 1 when one is not finished."""
        # What can be missing is asked for before anything is rendered or trained.
        self._check()
        store = None if self.offline else tracking.open_store(self.tracking_uri, self.bench.runs)
        opened = open_suite(self.suite, self.bench, store)
        planned = plan_suite(opened)
        plans = self._chosen(planned, opened)
        if self.keys:
            _run_here(plans, opened)
        else:
            opened.render_true_edits()
            suite_run = open_suite_run(opened, planned)
            try:
                self._run_cells(plans, opened)
                while self.wait and (held := self._held(plans)):
                    self._await(held)
                    self._run_cells([plan for plan, _ in held], opened)
            finally:
                suite_run.finish(*state_of_cells(plans, self.bench))
            self._print_summary(plans, opened)
        return 0 if state_of_cells(plans, self.bench)[0] == "finished" else FAILED_CELLS

    def _check(self) -> None:
        """Raise a `UserError` for a place that cannot be written, a dataset that does not fit, no address."""
        check_writable(self.bench.runs)
        if not self.offline:
            check_named(self.tracking_uri)
        if missing_roles(self.suite, self.bench):
            check_writable(self.bench.data)
        if self.bench.dataset is not None:
            self._check_true_edits(suite_datasets(self.suite, self.bench))

    def _check_true_edits(self, datasets: Mapping[str, Dataset]) -> None:
        """Refuse a dataset without the true edits that a chosen method learns from."""
        for row, _ in self.suite.chosen(self.only, self.seeds):
            entry = find_method(row.method, self.bench.methods)
            if row.training and isinstance(entry, MethodEntry) and entry.learns_from_true_edits:
                check_true_edits(entry.title, datasets[row.learns_from], row.training.splits)

    def _print_former_cells(self) -> None:
        """Say whether trained cells of the former suite `standard` lie here, which its new name takes up."""
        count = former_cells(self.bench.runs) if self.suite.name == STANDARD else 0
        if count:
            now = f"called {TWIN_SUITE} now: {command(f'bench run {TWIN_SUITE}')} has them"
            print(f"{count} of the cells here are of the former suite {STANDARD}, {now}")

    def _chosen(self, planned: list[PlannedCell], opened: OpenSuite) -> list[PlannedCell]:
        """Return the chosen cells; a chosen method that this dataset leaves out is a `UserError`."""
        for name in sorted(set(self.only) - {plan.spec.method for plan in planned}):
            raise UserError(f"{name} needs the true edits, and {opened.datasets[TWIN].name} has {NO_TRUTH}")
        if self.keys:
            return [with_key(planned, key) for key in self.keys]
        return select(opened.suite, planned, self.only, self.seeds)

    def _run_cells(self, plans: list[PlannedCell], opened: OpenSuite) -> None:
        if self.cluster is not None:
            from benchmarks.running.cluster_cells import run_on_cluster

            run_on_cluster(self.cluster, plans, opened, self.arguments)
        else:
            _run_here(plans, opened)

    def _held(self, plans: list[PlannedCell]) -> list[tuple[PlannedCell, Holder]]:
        """Return the cells that another process runs, each with that process."""
        found = [(plan, claimed_by(self.bench.cell_folder(plan.spec.key))) for plan in plans]
        return [(plan, holder) for plan, holder in found if holder is not None]

    def _await(self, held: list[tuple[PlannedCell, Holder]]) -> None:
        """Wait until no other process runs any of these cells."""
        for plan, holder in held:
            print(f"waiting for {plan.spec.name}, which is being run by {holder}", file=sys.stderr)
        while any(is_claimed(self.bench.cell_folder(plan.spec.key)) for plan, _ in held):
            time.sleep(POLL_SECONDS)

    def _print_summary(self, plans: list[PlannedCell], opened: OpenSuite) -> None:
        print(summary_text(plans, self.bench))
        for line in unmeasured_lines(plans, self.bench):
            print(line)
        for plan, holder in self._held(plans):
            print(f"{plan.spec.name} is being run by {holder}: add --wait to wait for it")
        self._print_former_cells()
        _print_notes(opened)
        print(f"tables and figures: {command('report build')}    runs: {command('ui')}")


def _run_here(plans: list[PlannedCell], opened: OpenSuite) -> None:
    for number, plan in enumerate(plans, start=1):
        print(f"[{number}/{len(plans)}] {plan.spec.name}", file=sys.stderr)
        run_cell(plan, opened)


def _print_notes(opened: OpenSuite) -> None:
    if opened.unscored_splits:
        splits = ", ".join(opened.unscored_splits)
        print(f"not measured: split {splits}, which this dataset does not have")
    for note in opened.scoring.described["notes"]:
        print(f"note: {note}")
