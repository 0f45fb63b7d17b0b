"""What a suite run stands on: folders, device, methods; then the suite, opened: datasets, pairs, scorers."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.protocol.edit_requests import split_data
from benchmarks.protocol.protocol_config import Protocol
from benchmarks.protocol.true_edits import TruthCache, made_once, render_synfacs
from benchmarks.running.showcase import true_showcase
from benchmarks.scoring.evaluate import ScoringContext
from benchmarks.scoring.instrument_choice import InstrumentChoice, choose_instruments
from benchmarks.suites.methods import all_methods
from benchmarks.suites.suite import CROWD, SPLIT_DATASETS, TWIN, Row, Suite
from eggan.data.data_commands import PHOTOS
from eggan.data.dataset import Dataset, load_dataset
from eggan.data.fewer_people import first_people, labelled_images
from eggan.errors import UserError
from eggan.evaluation.reading import Instruments
from eggan.machine import default_workers
from eggan.progress import progress_bar, working

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry
    from eggan.tracking import Store


def load_instruments(device: str) -> Instruments:
    """Load the frozen scorers; a missing weight file is a `UserError`."""
    from eggan.evaluation.instruments import load_au_estimator, load_verifier
    from eggan.evaluation.landmark_reader import load_landmark_reader

    with working("loading the instruments"):
        return Instruments(
            load_au_estimator("a", device),
            load_au_estimator("b", device),
            load_verifier(device),
            load_landmark_reader(),
        )


def build_synfacs(split: str, size: int, seed: int, workers: int, out: Path) -> Path:
    """Render one SynFACS dataset, with a progress bar."""
    from eggan.data.synfacs import build

    return build(split=split, size=size, seed=seed, workers=workers, out=out)


@dataclass(frozen=True)
class BenchEnvironment:
    """Folders, device and the replaceable parts of a suite run.

    `dataset` replaces the suite's twin; `instruments` loads the shipped scorers, `choice` says which to use.
    `shared_cache` is what several folders of results share, in the place of one inside `runs`.
    """

    runs: Path = Path("runs")
    data: Path = Path("data")
    device: str = "cpu"
    dataset: Path | None = None
    workers: int = field(default_factory=default_workers)
    progress: Callable[..., Any] = progress_bar
    methods: "Mapping[str, Entry]" = field(default_factory=all_methods)
    instruments: Callable[[str], Instruments] = load_instruments
    choice: InstrumentChoice = field(default_factory=InstrumentChoice)
    build: Callable[..., Path] = build_synfacs
    render: Callable[..., Any] = render_synfacs
    shared_cache: Path | None = None

    @property
    def cache(self) -> Path:
        """Content-addressed things that cells share."""
        return self.shared_cache or self.runs / "cache"

    def cell_folder(self, key: str) -> Path:
        """The folder of a cell."""
        return self.runs / "cells" / key

    def dataset_folder(self, suite: Suite, role: str) -> Path:
        """Where a SynFACS build of a suite lies."""
        return self.synfacs_folder(role, suite.image_size, suite.dataset_seed)

    def synfacs_folder(self, role: str, size: int, seed: int) -> Path:
        """Where a SynFACS build lies."""
        return self.data / f"synfacs-{role}-{size}px-s{seed}"


def named_dataset(name: Path | None, data: Path, image_size: int) -> Path | None:
    """Return the folder that `--dataset` names: a folder, or the short name of a build such as rafd.

    A name without its build is a `UserError` that says how to build it.
    """
    if name is None or (name / "dataset.json").exists() or len(name.parts) > 1:
        return name
    folder = data / f"{name}-{image_size}px"
    if folder.exists():
        return folder
    if name.exists():
        return name  # the loader says what is wrong with it
    own = str(name) in PHOTOS.keys() - {"folder"}  # a folder's build has a name that its user chose
    kind, labels = (str(name), "") if own else (f"folder --name {name}", " --labels CSV")
    raise UserError(
        f"there is no dataset {folder}: `eggan data build {kind} --size {image_size} --root DIR{labels}` "
        "builds it"
    )


def open_instruments(bench: BenchEnvironment) -> Instruments:
    """Return the scorers of a suite run; a missing one is a `UserError`."""
    dataset = None if bench.dataset is None else load_dataset(bench.dataset)
    return choose_instruments(
        bench.choice, dataset, bench.device, bench.cache, bench.instruments, bench.progress
    )


def render_once(bench: BenchEnvironment, role: str, size: int, seed: int) -> Path:
    """Render a SynFACS build where it is missing, one process at a time, and return its folder."""
    folder = bench.synfacs_folder(role, size, seed)
    with nullcontext() if folder.exists() else made_once(folder, str(folder)):
        bench.build(role, size, seed, bench.workers, folder)  # keeps one that has the same parameters
    return folder


def suite_datasets(suite: Suite, bench: BenchEnvironment, build: bool = True) -> dict[str, Dataset]:
    """Return the datasets of a suite by role, rendering missing ones; a role that cannot be had is left out.

    With `build` false nothing is rendered.
    """
    if bench.dataset is not None:
        if CROWD in suite.roles:
            raise UserError(
                f"the suite {suite.name} learns from SynFACS' crowd: choose another suite for {bench.dataset}"
            )
        dataset = load_dataset(bench.dataset)
        if dataset.size != suite.image_size:
            raise UserError(
                f"{bench.dataset} has {dataset.size} px images, the suite {suite.name} {suite.image_size} "
                "px: choose another dataset or suite"
            )
        return {TWIN: dataset} | ({"wide": dataset} if len(dataset.rows("wide")) else {})
    found = {}
    for role in suite.roles:
        folder = bench.dataset_folder(suite, role)
        if build:
            render_once(bench, role, suite.image_size, suite.dataset_seed)
        if folder.exists():
            found[role] = load_dataset(folder)
    return found


def open_scoring(
    protocol: Protocol, bench: BenchEnvironment, datasets: Mapping[str, Dataset], instruments: Instruments
) -> ScoringContext:
    """Return a protocol with its pairs, instruments and true-edit cache; `datasets` are by role."""
    with working("drawing the pairs"):
        splits = [
            split_data(protocol, split, datasets[SPLIT_DATASETS[split]], datasets[TWIN])
            for split in protocol.splits
            if SPLIT_DATASETS[split] in datasets
        ]
    truth = TruthCache(bench.cache, bench.workers, bench.render)
    return ScoringContext(protocol, splits, instruments, truth, bench.device, bench.progress)


def missing_roles(suite: Suite, bench: BenchEnvironment) -> list[str]:
    """Return the SynFACS builds of a suite that would have to be rendered first."""
    if bench.dataset is not None:
        return []
    return [role for role in suite.roles if not bench.dataset_folder(suite, role).exists()]


@dataclass(frozen=True)
class OpenSuite:
    """A suite and what all its cells share: datasets by role, pairs and scorers, the tracking store.

    `budget` says how its number of training images was chosen, where that is known.
    """

    suite: Suite
    bench: BenchEnvironment
    datasets: Mapping[str, Dataset]
    scoring: ScoringContext
    store: "Store | None" = None
    budget: str = ""

    @property
    def dataset_label(self) -> str:
        """The dataset in run names: the suite's own, or the name of the one that took its place."""
        return self.suite.dataset if self.bench.dataset is None else self.datasets[TWIN].name

    def training_data(self, row: Row) -> Dataset:
        """Return what a row learns from: a dataset of the suite, or a part of its people and images."""
        dataset = self.datasets[row.learns_from]
        dataset = labelled_images(dataset) if row.labelled else dataset
        return dataset if row.people is None else first_people(dataset, row.people)

    @property
    def unscored_splits(self) -> list[str]:
        """The protocol's splits that the dataset does not have."""
        return [split for split in self.suite.protocol.splits if SPLIT_DATASETS[split] not in self.datasets]

    def render_true_edits(self) -> None:
        """Render what all cells compare with, the pairs' and the showcase's, before any cell needs it."""
        for data in self.scoring.splits:
            self.scoring.truth.of(data.edits, f"true {data.split} pairs")
        true_showcase(self.scoring)


def open_suite(
    suite: Suite, bench: BenchEnvironment, store: "Store | None" = None, build: bool = True
) -> OpenSuite:
    """Return a suite with its instruments and datasets; missing ones are rendered where `build` says so."""
    instruments = open_instruments(bench)  # first: one that is missing is said before anything is rendered
    datasets = suite_datasets(suite, bench, build)
    scoring = open_scoring(suite.protocol, bench, datasets, instruments)
    return OpenSuite(suite, bench, datasets, scoring, store, suite.budget)
