"""Workers of a study on a cluster: each is a task of its scheduler that runs the process of a local worker.

They share the study's database. Workers of this machine share its folder too, and may do with its journal.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.running.cluster_cells import SCRATCH, dataset_files, needs_of, verifier_files
from benchmarks.suites.suite import Row
from eggan.child_process import how_ended
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun, Job, Outcome
from eggan.config import content_hash
from eggan.errors import UserError
from eggan.tracking.record import METRICS_FILE, RECORD_FILE
from studies.storage.trial_tracking import RECORD
from studies.study_config import SPEC_FILE, study_folder
from studies.study_context import StudyContext

TRIALS = "trials"
SHORT = 20  # characters of a hash


def check_cluster(choice: ClusterChoice, storage: str | None) -> None:
    """Refuse a study on other machines without a database that they can reach."""
    shared = storage and not storage.startswith("sqlite")
    if not choice.is_local and not shared:
        raise UserError(
            "workers on other machines cannot share a file: give --storage "
            "postgresql://USER@HOST/DATABASE, which they can reach, or use --cluster local:N"
        )


def run_on_cluster(
    choice: ClusterChoice, context: StudyContext, arguments: argparse.Namespace, workers: int
) -> None:
    """Let workers run a study's trials; what those leave is brought to the study's folder here."""
    jobs = _jobs(choice, context, arguments, workers)
    bench = context.bench
    with connected(choice, bench.cache / SCRATCH, bench.device.startswith("cuda")) as client:
        ClusterRun(client, jobs, _report_end).run()


def _jobs(
    choice: ClusterChoice, context: StudyContext, arguments: argparse.Namespace, workers: int
) -> Iterator[Job]:
    own = {"as_worker": True, **dict.fromkeys(("cluster", "tls_ca", "tls_cert", "tls_key"))}
    spec = content_hash(context.spec.plain())[:SHORT]
    needs = needs_of(context.entry, Row(context.entry.name, context.study.preset), arguments.device)
    job = _here(context, arguments, own) if choice.is_local else _there(context, arguments, own, spec)
    for number in range(workers):
        name = f"study-{context.spec.name}-{spec}-{number}"
        yield dataclasses.replace(job, name=name, needs=needs)


def _here(context: StudyContext, arguments: argparse.Namespace, own: dict[str, object]) -> Job:
    """Return the job of a worker of this machine, which works in the study's own folder."""
    places = {name: getattr(arguments, name) for name in ("runs", "data", "dataset")}
    own |= {name: None if path is None else Path(path).resolve() for name, path in places.items()}
    return Job("", argparse.Namespace(**{**vars(arguments), **own}))


def _there(context: StudyContext, arguments: argparse.Namespace, own: dict[str, object], spec: str) -> Job:
    """Return the job of a worker elsewhere: its dataset travels, its trials come back here."""
    bench, runs = context.bench, Path("studies", spec)
    folder = study_folder(runs, context.spec.name)
    data, files = dataset_files([context.dataset])
    files[(folder / SPEC_FILE).as_posix()] = context.folder() / SPEC_FILE
    for scoring in (context.final, context.interim):
        for split in scoring.splits:
            truth = scoring.truth.path(split.edits)
            if truth.is_file():
                files[(runs / truth.relative_to(bench.runs)).as_posix()] = truth
    own |= {"runs": runs, "data": data, "dataset": data / context.dataset.folder.resolve().name}
    own |= {"offline": True, "tracking_uri": None}
    own["verifier"], more = verifier_files(arguments.verifier, context.final.instruments)
    return Job(
        "",
        argparse.Namespace(**{**vars(arguments), **own}),
        files=files | more,
        folder=context.folder() / TRIALS,
        place=(folder / TRIALS).as_posix(),
        brought=(METRICS_FILE, RECORD_FILE, RECORD),
    )


def _report_end(job: Job, outcome: Outcome) -> None:
    how = outcome.reason if outcome.status is None else how_ended(outcome.status)
    if outcome.status != 0:
        last = f" ({outcome.reason})" if outcome.status is not None and outcome.reason else ""
        print(f"{job.name} {how}{last}", file=sys.stderr)
