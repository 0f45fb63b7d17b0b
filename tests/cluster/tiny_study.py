"""A worker of the small study, as a command for a worker's process."""

import argparse
import dataclasses
from pathlib import Path

from benchmarks.suites.methods import METHODS
from eggan.child_process import end_with_parent
from eggan.data.dataset import load_dataset
from studies.storage.study_storage import open_study
from studies.study_config import read_spec, study_folder
from studies.study_context import open_study_context
from studies.worker import Worker
from tests.benchmarks.fakes import fake_instruments
from tests.cluster.tiny_cells import bench_of
from tests.studies.study_context import add_space, painter_entry


def arguments_of(root: Path, storage: str | None) -> argparse.Namespace:
    return argparse.Namespace(
        run=run, runs=root / "runs", data=root / "data", dataset=root / "faces", storage=storage,
        device="auto", verifier="auto",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run trials of the study that the client has made."""
    end_with_parent()
    add_space()
    bench = bench_of(arguments.runs, arguments.dataset)
    bench = dataclasses.replace(bench, methods={**METHODS, "painter": painter_entry()})
    folder = study_folder(arguments.runs, "small")
    dataset = load_dataset(arguments.dataset)
    context = open_study_context(read_spec(folder), folder, bench, dataset, fake_instruments())
    Worker(context, open_study(context.folder, arguments.storage)).run()
    return 0
