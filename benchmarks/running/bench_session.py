"""One `eggan bench run`: from its arguments to the printed summary."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.protocol.true_edits import NO_TRUTH
from benchmarks.running.bench_console import missing_datasets_text, plan_text, summary_text, unmeasured_lines
from benchmarks.running.cells import claimed_by, is_claimed, read_status
from benchmarks.running.environment import (
    BenchEnvironment,
    named_dataset,
    open_instruments,
    open_scoring,
    suite_datasets,
)
from benchmarks.running.suite_run import (
    Plan,
    open_suite_run,
    plan_suite,
    prepare_truth,
    record_death,
    run_cell,
    select,
)
from benchmarks.scoring.evaluate import ScoringContext
from benchmarks.scoring.instrument_choice import InstrumentChoice
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.suite import SPLIT_DATASETS, Suite, find_suite
from eggan import tracking
from eggan.child_process import how_ended
from eggan.command_workers import POLL_SECONDS, run_workers
from eggan.data.dataset import Dataset
from eggan.errors import UserError
from eggan.files import Holder, check_writable
from eggan.machine import default_workers
from eggan.options import command, resolve_device
from eggan.signals import resumable
from eggan.tracking import Store

FAILED_CELLS = 1


@dataclass(frozen=True)
class BenchSession:
    """The choices of one command; `suite` has the rows that were added, `arguments` are the command's own."""

    suite: Suite
    bench: BenchEnvironment
    only: list[str]
    seeds: list[int]
    keys: list[str]
    processes: int = 1
    offline: bool = False
    tracking_uri: str | None = None
    wait: bool = False
    arguments: argparse.Namespace = field(default_factory=argparse.Namespace)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "BenchSession":
        """Read the arguments of `eggan bench run`; every mistake in them is found before anything is
        rendered.
        """
        suite = find_suite(arguments.suite)
        bench = BenchEnvironment(
            runs=arguments.runs,
            data=arguments.data,
            device=resolve_device(arguments.device),
            dataset=named_dataset(arguments.dataset, arguments.data, suite.image_size),
            choice=choice_of(arguments),
            workers=arguments.workers or default_workers(),
        )
        session = cls(
            with_added_rows(suite, arguments.add, bench.methods),
            bench,
            arguments.only,
            arguments.seed,
            arguments.cell,
            arguments.processes,
            arguments.offline,
            arguments.tracking_uri,
            arguments.wait,
            arguments,
        )
        session.check()
        return session

    def check(self) -> None:
        """Raise a `UserError` for a method or seed that the suite does not have."""
        methods = [row.method for row in self.suite.rows]
        for name in self.only:
            if name not in methods:
                raise UserError(
                    f"unknown method {name!r} in suite {self.suite.name} (known: {', '.join(methods)})"
                )
        for seed in self.seeds:
            if seed not in self.suite.seeds:
                known = ", ".join(map(str, self.suite.seeds))
                raise UserError(f"suite {self.suite.name} has no seed {seed} (known: {known})")

    def dry_run(self) -> int:
        """Print what `run` would do."""
        datasets = suite_datasets(self.suite, self.bench, build=False)
        missing = [role for role in self.suite.roles if role not in datasets and self.bench.dataset is None]
        if missing:
            print(missing_datasets_text(self.suite, missing, self.bench))
            return 0
        scoring = open_scoring(self.suite, self.bench, datasets, open_instruments(self.bench))
        planned = plan_suite(self.suite, self.bench, scoring, datasets)
        print(plan_text(self._chosen(planned, datasets), self.bench))
        self._print_notes(scoring, datasets)
        return 0

    def run(self) -> int:
        """Run the chosen cells and print a summary; return 0, or 1 when one is not finished."""
        with resumable():
            return self._run()

    def _run(self) -> int:
        # What can be missing is asked for before anything is rendered or trained.
        check_writable(self.bench.runs)
        store = None if self.offline else tracking.open_store(self.tracking_uri, self.bench.runs)
        instruments = open_instruments(self.bench)
        datasets = suite_datasets(self.suite, self.bench)
        scoring = open_scoring(self.suite, self.bench, datasets, instruments)
        planned = plan_suite(self.suite, self.bench, scoring, datasets)
        plans = self._chosen(planned, datasets)
        if self.keys:
            self._run_here(plans, scoring, datasets, store)
        else:
            prepare_truth(scoring)
            suite_run = open_suite_run(self.suite, self.bench, store, planned)
            try:
                self._run_cells(plans, scoring, datasets, store)
                while self.wait and (held := self._held(plans)):
                    self._await(held)
                    self._run_cells([plan for plan, _ in held], scoring, datasets, store)
            finally:
                suite_run.finish(*self._suite_state(plans))
            self._print_summary(plans, scoring, datasets)
        return 0 if self._suite_state(plans)[0] == "finished" else FAILED_CELLS

    def _chosen(self, planned: list[Plan], datasets: Mapping[str, Dataset]) -> list[Plan]:
        """Return the chosen cells; a chosen method that this dataset leaves out is a `UserError`."""
        for name in sorted(set(self.only) - {plan.spec.method for plan in planned}):
            raise UserError(f"{name} needs the true edits, and {datasets['twin'].name} has {NO_TRUTH}")
        return select(planned, self.only, self.seeds, self.keys)

    def _run_cells(
        self, plans: list[Plan], scoring: ScoringContext, datasets: Mapping[str, Dataset], store: Store | None
    ) -> None:
        if self.processes > 1:
            jobs = {plan.spec.key: self._of_one_cell(plan) for plan in plans}
            run_workers(jobs, self.processes, self._ended(plans))
        else:
            self._run_here(plans, scoring, datasets, store)

    def _of_one_cell(self, plan: Plan) -> argparse.Namespace:
        """Return this command's arguments, narrowed down to one cell in one process."""
        own = {"cell": [plan.spec.key], "processes": 1, "device": self.bench.device, "only": [], "seed": []}
        return argparse.Namespace(**{**vars(self.arguments), **own, "workers": self.bench.workers})

    def _held(self, plans: list[Plan]) -> list[tuple[Plan, Holder]]:
        """Return the cells that another process runs, each with that process."""
        found = [(plan, claimed_by(self.bench.cell_folder(plan.spec.key))) for plan in plans]
        return [(plan, holder) for plan, holder in found if holder is not None]

    def _await(self, held: list[tuple[Plan, Holder]]) -> None:
        """Wait until no other process runs any of these cells."""
        for plan, holder in held:
            print(f"waiting for {plan.spec.name}, which is being run by {holder}", file=sys.stderr)
        while any(is_claimed(self.bench.cell_folder(plan.spec.key)) for plan, _ in held):
            time.sleep(POLL_SECONDS)

    def _ended(self, plans: list[Plan]) -> Callable[[str, int], None]:
        """Return what is done as the worker of a cell ends: a cell that it never began gets a reason."""
        by_key = {plan.spec.key: plan for plan in plans}

        def record(key: str, status: int) -> None:
            print(f"cell {key} {how_ended(status)}", file=sys.stderr)
            if status:
                record_death(by_key[key], self.bench, how_ended(status))

        return record

    def _run_here(
        self, plans: list[Plan], scoring: ScoringContext, datasets: Mapping[str, Dataset], store: Store | None
    ) -> None:
        for number, plan in enumerate(plans, start=1):
            print(f"[{number}/{len(plans)}] {plan.spec.name}", file=sys.stderr)
            run_cell(plan, scoring, self.bench, datasets, store)

    def _suite_state(self, plans: list[Plan]) -> tuple[str, str]:
        """Return the state of the suite's run, and its reason: how many chosen cells are not finished."""
        states = [read_status(self.bench.cell_folder(plan.spec.key)).state for plan in plans]
        open_cells = sum(state != "finished" for state in states)
        if not open_cells:
            return "finished", ""
        state = "interrupted" if {"interrupted", "pending", "running"} & set(states) else "failed"
        return state, f"{open_cells} of {len(states)} cells are not finished"

    def _print_summary(
        self, plans: list[Plan], scoring: ScoringContext, datasets: Mapping[str, Dataset]
    ) -> None:
        print(summary_text(plans, self.bench))
        for line in unmeasured_lines(plans, self.bench):
            print(line)
        for plan, holder in self._held(plans):
            print(f"{plan.spec.name} is being run by {holder}: add --wait to wait for it")
        self._print_notes(scoring, datasets)
        print(f"tables and figures: {command('report build')}    runs: {command('ui')}")

    def _print_notes(self, scoring: ScoringContext, datasets: Mapping[str, Dataset]) -> None:
        left_out = [split for split in self.suite.protocol.splits if SPLIT_DATASETS[split] not in datasets]
        if left_out:
            print(f"not measured: split {', '.join(left_out)}, which this dataset does not have")
        for note in scoring.described["notes"]:
            print(f"note: {note}")


def choice_of(arguments: argparse.Namespace) -> InstrumentChoice:
    """Read the instruments that the arguments ask for."""
    return InstrumentChoice(
        arguments.au_instrument, arguments.verifier, arguments.openface, arguments.openface_version
    )
