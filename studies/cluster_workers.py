"""Several workers of a study: each is a task of a cluster's scheduler that starts a process for it.

They share the study's database. Workers of this machine share its folder too, and may do with its journal.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.running.cluster_cells import dataset_files, needs_of, verifier_files
from benchmarks.suites.suite import Row
from eggan.child_process import how_ended
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun, Job, Outcome, job_in_place
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
    with connected(choice) as client:
        ClusterRun(client, jobs, _report_end).run()


def _jobs(
    choice: ClusterChoice, context: StudyContext, arguments: argparse.Namespace, workers: int
) -> Iterator[Job]:
    own = {"as_worker": True, **dict.fromkeys(("cluster", "tls_ca", "tls_cert", "tls_key"))}
    spec = content_hash(context.spec.plain())[:SHORT]
    if choice.is_local:
        here = argparse.Namespace(**{**vars(arguments), **own})
        job = job_in_place("", here, min(choice.workers, workers))
    else:
        job = _there(context, arguments, own, spec)
    for number in range(workers):
        yield dataclasses.replace(job, name=f"study-{context.spec.name}-{spec}-{number}")


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
    needs = needs_of(context.entry, Row(context.entry.name, context.study.preset), arguments.device)
    own["verifier"], more = verifier_files(arguments.verifier, context.final.instruments)
    return Job(
        "",
        argparse.Namespace(**{**vars(arguments), **own}),
        needs=needs,
        files=files | more,
        folder=context.folder() / TRIALS,
        place=(folder / TRIALS).as_posix(),
        brought=(METRICS_FILE, RECORD_FILE, RECORD),
    )


def _report_end(job: Job, outcome: Outcome) -> None:
    how = outcome.reason if outcome.status is None else how_ended(outcome.status)
    if outcome.status != 0 and not outcome.stopped:
        last = f" ({outcome.reason})" if outcome.status is not None and outcome.reason else ""
        print(f"{job.name} {how}{last}", file=sys.stderr)
