"""Several workers of a study: each is a task of a cluster's scheduler that starts a process for it.

They share the study's database. Workers of this machine share its folder too, and may do with its journal.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.running.cluster_cells import needs_of, travelling_files
from benchmarks.suites.suite import Row
from eggan.cluster.connection import NO_CLUSTER, ClusterChoice, connected
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
    own = {**vars(arguments), **NO_CLUSTER, "as_worker": True}
    spec = content_hash(context.spec.plain())[:SHORT]
    if choice.is_local:
        job = job_in_place("", argparse.Namespace(**own), min(choice.workers, workers))
    else:
        job = _there(context, own, spec)
    for number in range(workers):
        yield dataclasses.replace(job, name=f"study-{context.spec.name}-{spec}-{number}")


def _there(context: StudyContext, own: dict[str, Any], spec: str) -> Job:
    """Return the job of a worker elsewhere: its dataset travels, its trials come back here."""
    runs, dataset = Path("studies", spec), context.dataset
    scorings, configs = (context.final, context.interim), [context.spec.method_config]
    files, there = travelling_files(context.bench, [dataset], scorings, configs, own["verifier"], runs)
    folder = study_folder(runs, context.spec.name)
    files[(folder / SPEC_FILE).as_posix()] = context.folder / SPEC_FILE
    there["dataset"] = there["data"] / dataset.folder.resolve().name
    return Job(
        "",
        argparse.Namespace(**(own | there)),
        needs=needs_of(context.entry, Row(context.entry.name, context.study.preset), own["device"]),
        files=files,
        folder=context.folder / TRIALS,
        place=(folder / TRIALS).as_posix(),
        brought=(METRICS_FILE, RECORD_FILE, RECORD),
    )


def _report_end(job: Job, outcome: Outcome) -> None:
    if outcome.status != 0 and not outcome.stopped:
        last = f" ({outcome.reason})" if outcome.status is not None and outcome.reason else ""
        print(f"{job.name} {outcome.how}{last}", file=sys.stderr)
