"""Several cells at a time: what travels with each, and how it lands here.

A cell is a job that runs `eggan bench run .. --cell KEY`; which worker runs it is for the cluster's scheduler
to say. While a cell is on its way to another machine this process holds it, so that no other run of this
folder of results takes it; on this machine its own process does.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.running.cell_run import is_trained
from benchmarks.running.cells import LOCK, PlannedCell, claim, read_status, write_status
from benchmarks.running.environment import BenchEnvironment, OpenSuite
from benchmarks.running.suite_run import record_death, settle
from benchmarks.scoring.evaluate import ScoringContext
from benchmarks.scoring.instrument_choice import LIGHTCNN
from benchmarks.suites.suite import CROWD, Row
from eggan import tracking
from eggan.checkpoint import STATE_FILE
from eggan.child_process import how_ended
from eggan.cluster.connection import NO_CLUSTER, ClusterChoice, connected
from eggan.cluster.jobs import NO_DISTANCE, ClusterRun, Job, Outcome, job_in_place
from eggan.config import content_hash
from eggan.data.dataset import Dataset
from eggan.evaluation.reading import Instruments
from eggan.files import files_in
from eggan.method import MethodEntry, Needs
from eggan.published_weights import INCEPTION_FILE, LPIPS_FILES, VGG19_FILE, find_weights
from eggan.tracking import DIED, Store
from eggan.tracking.record import METRICS_FILE, RECORD_FILE

CELL_FILE = "cell.json"
RUNS = Path("runs")  # below a worker's folder
CROWD_GIB = 1.0  # of its images at 64 px and their copies
IMAGENET_VGG19 = "imagenet_vgg19"  # in any field of a config: EGGAN's is a loss, HomoInterpGAN's a start
SHORT = 20  # characters of a hash


def run_on_cluster(
    choice: ClusterChoice, plans: Sequence[PlannedCell], opened: OpenSuite, arguments: argparse.Namespace
) -> None:
    """Run cells that are not finished on a cluster; each ends in its folder here, and in the store."""
    if choice.is_local:
        here = CellsInPlace(plans, opened, arguments, choice.workers)
        with connected(choice) as client:
            ClusterRun(client, here.jobs(), here.ended, NO_DISTANCE).run()
        return
    cells = ClusterCells(plans, opened, arguments)
    with cells, connected(choice) as client:
        ClusterRun(client, cells.jobs(), cells.ended).run()


class CellsInPlace:
    """The cells of a run as jobs of this machine, `at_once` at a time, which work in their own folders."""

    def __init__(
        self,
        plans: Sequence[PlannedCell],
        opened: OpenSuite,
        arguments: argparse.Namespace,
        at_once: int,
    ) -> None:
        self.plans = {plan.spec.key: plan for plan in plans}
        self.opened, self.arguments, self.at_once = opened, arguments, at_once

    def jobs(self) -> Iterator[Job]:
        """Yield a job for each cell that is not finished."""
        bench = self.opened.bench
        for key in self.plans:
            folder = bench.cell_folder(key)
            with claim(folder) as ours:
                if ours and read_status(folder).state == "finished":
                    settle(folder, self.opened.store)
                    continue
            own = {**_one_cell(key), "suite": self.opened.suite.name}  # the present one of a former name
            own |= {"device": bench.device, "workers": bench.workers}
            arguments = argparse.Namespace(**{**vars(self.arguments), **own})
            yield job_in_place(f"cell-{key}", arguments, self.at_once)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Let a cell that its process never began tell why."""
        if outcome.stopped:
            return
        (key,) = job.arguments.cell
        how = how_ended(outcome.status) if outcome.status is not None else f"did not start: {outcome.reason}"
        print(f"cell {key} {how}", file=sys.stderr)
        if outcome.status != 0:
            record_death(self.plans[key], self.opened.bench, how)


class ClusterCells:
    """The cells of a run as jobs. Those on their way are held until the end of the block."""

    def __init__(
        self, plans: Sequence[PlannedCell], opened: OpenSuite, arguments: argparse.Namespace
    ) -> None:
        self.plans = {plan.spec.key: plan for plan in plans}
        self.opened, self.arguments = opened, arguments
        self._held: dict[str, ExitStack] = {}

    def __enter__(self) -> "ClusterCells":
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._held.values():
            held.close()

    def jobs(self) -> Iterator[Job]:
        """Yield a job for each cell that is not finished and that no other process holds."""
        files, own = travelling(self.opened, list(self.plans.values()), self.arguments)
        for key, plan in self.plans.items():
            folder, held = self.opened.bench.cell_folder(key), ExitStack()
            if not held.enter_context(claim(folder)):
                continue
            if read_status(folder).state == "finished":
                settle(folder, self.opened.store)
                held.close()
                continue
            if not is_trained(folder) and not (folder / STATE_FILE).is_file():
                tracking.put_aside(folder)
            self._held[key] = held
            yield self._job(plan, files, own)

    def _job(self, plan: PlannedCell, files: dict[str, Path], own: argparse.Namespace) -> Job:
        key, bench = plan.spec.key, self.opened.bench
        place = _place(bench.cell_folder(key), bench)
        return Job(
            name=f"cell-{key}",
            arguments=argparse.Namespace(**{**vars(own), **_one_cell(key)}),
            needs=needs_of(plan.entry, plan.row, self.arguments.device),
            files=files,
            folder=bench.cell_folder(key),
            place=place,
            brought=(STATE_FILE, METRICS_FILE, RECORD_FILE, CELL_FILE),
            state_file=STATE_FILE,
            lock=f"{place}/{LOCK}",
            last=CELL_FILE,
        )

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Let a cell's folder tell how it ended, ship it, and let it go."""
        (key,) = job.arguments.cell
        plan, folder = self.plans[key], self.opened.bench.cell_folder(key)
        status = read_status(folder)
        how = outcome.how
        where = f" at {outcome.worker}" if outcome.worker else ""
        print(f"cell {key}{where} {how}", file=sys.stderr)
        spec = {"spec": dataclasses.asdict(plan.spec), "name": plan.spec.name}
        if outcome.status is None and not outcome.stopped:
            write_status(folder, "failed", reason=outcome.reason, **spec)
        elif outcome.status and status.state == "pending":
            reason = f"its process {how} before the cell began: {outcome.reason}"
            write_status(folder, "failed", reason=reason, **spec)
        elif status.state == "running":
            write_status(folder, "interrupted", reason=outcome.reason if outcome.stopped else DIED)
        _ship(folder, self.opened.store)
        self._held.pop(key).close()


def _ship(folder: Path, store: Store | None) -> None:
    settle(folder, store)
    status = read_status(folder)
    run_id = tracking.run_id_in(folder, store.uri) if store is not None else None
    if run_id is not None and status.values.get("mlflow_run_id") != run_id:
        write_status(folder, status.state, reason=status.reason, mlflow_run_id=run_id)


def needs_of(entry: object, row: Row, device: str) -> dict[str, float]:
    """Return what a cell needs of a worker: what its method states, room for the crowd's images, and a GPU
    where one was asked for.
    """
    needs = Needs()
    if isinstance(entry, MethodEntry) and row.preset is not None:
        needs = entry.needs.get(row.preset, needs)
    if row.learns_from == CROWD:
        needs = dataclasses.replace(needs, memory_gib=needs.memory_gib + CROWD_GIB)
    if device == "cpu":
        needs = dataclasses.replace(needs, gpu=0)
    elif device.startswith("cuda"):
        needs = dataclasses.replace(needs, gpu=1)
    return {name: amount for name, amount in dataclasses.asdict(needs).items() if amount}


def travelling(
    opened: OpenSuite, plans: Sequence[PlannedCell], arguments: argparse.Namespace
) -> tuple[dict[str, Path], argparse.Namespace]:
    """Return the files that the cells of a suite read, by their places at a worker, and the arguments of a
    command that finds them there.
    """
    bench, datasets = opened.bench, list(opened.datasets.values())
    configs = [plan.spec.config for plan in plans]
    files, own = travelling_files(bench, datasets, [opened.scoring], configs, arguments.verifier, RUNS)
    files |= _weight_files([INCEPTION_FILE, *LPIPS_FILES.values()])
    own["dataset"] = None if bench.dataset is None else own["data"] / bench.dataset.resolve().name
    return files, argparse.Namespace(**{**vars(arguments), **own, "workers": 1})


def travelling_files(
    bench: BenchEnvironment,
    datasets: Sequence[Dataset],
    scorings: Sequence[ScoringContext],
    configs: Sequence[Mapping[str, Any]],
    verifier: str,
    runs: Path,
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Return the files that trainings with these method configs and their scores read, by their places at a
    worker, and the options of a command that finds them there and has its results in `runs`.
    """
    data, files = _dataset_files(datasets)
    for scoring in scorings:
        for split in scoring.splits:
            truth = scoring.truth.path(split.edits)
            if truth.is_file():
                files[(runs / truth.relative_to(bench.runs)).as_posix()] = truth
    if any(IMAGENET_VGG19 in config.values() for config in configs):
        files |= _weight_files([VGG19_FILE])
    there, of_verifier = _verifier_files(verifier, scorings[0].instruments)
    own = {"data": data, "verifier": there, "runs": runs}
    own |= {"offline": True, "tracking_uri": None}  # tracking is the client's
    return files | of_verifier, own


def _dataset_files(datasets: Sequence[Dataset]) -> tuple[Path, dict[str, Path]]:
    """Return the folder that holds datasets at a worker, named by their content, and their files by place."""
    data = Path("data", content_hash(sorted({dataset.content_hash for dataset in datasets}))[:SHORT])
    files = {
        (data / dataset.folder.resolve().name / name).as_posix(): dataset.folder / name
        for dataset in datasets
        for name in files_in(dataset.folder)
    }
    return data, files


def _verifier_files(verifier: str, instruments: Instruments) -> tuple[str, dict[str, Path]]:
    """Return the option `--verifier` at a worker, and the files of an imported one by place."""
    if not verifier.startswith(LIGHTCNN):
        return verifier, {}
    folder = Path(verifier.removeprefix(LIGHTCNN))
    there = f"weights/lightcnn-{instruments.hashes['verifier'][:SHORT]}"
    return f"{LIGHTCNN}{there}", {f"{there}/{name}": folder / name for name in files_in(folder)}


def _place(path: Path, bench: BenchEnvironment) -> str:
    """Return where something of the folder of results lies at a worker."""
    return (RUNS / path.relative_to(bench.runs)).as_posix()


def _one_cell(key: str) -> dict[str, object]:
    """Return the options of a command that runs one cell in one process."""
    own = {"cell": [key], "processes": 1, "only": [], "seed": [], "wait": False, "dry_run": False}
    return {**own, **NO_CLUSTER}


def _weight_files(names: Sequence[str]) -> dict[str, Path]:
    """Return the published weight files of these names that are here, by their places at a worker."""
    found = {f"weights/{name}": find_weights(name) for name in names}
    return {place: path for place, path in found.items() if path is not None}
