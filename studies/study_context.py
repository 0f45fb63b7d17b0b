"""What all trials of a study share: data, method, instruments, validation pairs. Built once per process."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.protocol.protocol_config import Protocol
from benchmarks.running.environment import BenchEnvironment, open_instruments, open_scoring, render_once
from benchmarks.scoring.evaluate import Editor, ScoringContext, score_pairs
from benchmarks.scoring.pair_columns import au_matrix
from benchmarks.suites.equal_images import warm_images, warm_steps_field
from benchmarks.suites.presets import trainable
from benchmarks.suites.suite import CROWD, TWIN
from eggan.config import from_dict, to_dict
from eggan.data.dataset import Dataset, load_dataset
from eggan.errors import UserError
from eggan.evaluation.reading import Instruments, in_batches
from eggan.method import Method, MethodEntry
from eggan.training import TrainingConfig, TrainingFailed
from eggan.training_run import Log, Probe, TrainingRun, check_data, run_training
from studies.space import find_space
from studies.storage.trials import SCORES
from studies.study_config import ACCURACY, ERROR, SKILL, StudyConfig, StudySpec, read_spec

SPLIT = "val"
IMAGES_AFTER_WARM = 9_600  # as the defaults leave the preset `quick`


@dataclass(frozen=True)
class StudyContext:
    """The shared things of a study, whose results lie in `folder`.

    `final` and `interim` hold the pairs of both kinds of validation.
    """

    spec: StudySpec
    folder: Path
    entry: MethodEntry
    base: Any
    training: TrainingConfig
    bench: BenchEnvironment
    dataset: Dataset
    final: ScoringContext
    interim: ScoringContext

    @property
    def study(self) -> StudyConfig:
        """The study's settings."""
        return self.spec.study

    @property
    def images(self) -> int:
        """Images of one training, a multiple of the batch size."""
        return self.training.total_images(len(self.dataset.rows(*self.training.splits)))

    @property
    def warm_images(self) -> int:
        """Images of the method's warm start."""
        return warm_images(self.base, self.training)

    def training_run(self, config: Any, training: TrainingConfig, seed: int) -> TrainingRun:
        """Return a training on the study's dataset."""
        bench = self.bench
        return TrainingRun(
            self.entry, config, training, self.dataset, seed, bench.device, bench.cache, bench.progress
        )

    def train_and_score(
        self,
        config: Any,
        training: TrainingConfig,
        seed: int,
        folder: Path,
        on_log: Log,
        on_probe: Probe | None = None,
    ) -> tuple[dict[str, float], pd.DataFrame]:
        """Train with one seed, going on from what `folder` holds; return final scores and the pair table."""
        run = self.training_run(config, training, seed)
        trained = run_training(run, folder, on_log, on_probe)
        scores, frame = validate(trained.method, self.entry, self.final)
        scores["train_seconds"] = trained.result.seconds
        return {name: scores[name] for name in SCORES if name in scores}, frame

    def references(self) -> dict[str, dict[str, Any]]:
        """Return the parameters of the first trials: the paper's, if it gives any, and the preset's where
        they differ.
        """
        space = self.spec.space
        own = space.values_of(self.base)
        if space.reference == "preset" or "paper" not in self.entry.presets:
            return {"preset": own}
        paper = space.values_of(self.entry.presets["paper"])
        return {"paper": paper} | ({"preset": own} if own != paper else {})

    def build_shared(self) -> None:
        """Make what trials find in the cache, such as C_id, before several workers want it at once."""
        for seed in self.study.seeds:
            self.training_run(self.base, self.training, seed).build()


def study_dataset(bench: BenchEnvironment, entry: MethodEntry, config: Any) -> Dataset:
    """Return the dataset of a study: the one that was named, or SynFACS, rendered where it is missing.

    One that the method cannot learn from is a `UserError`.
    """
    if bench.dataset is None:
        role = CROWD if entry.learns_from_true_edits else TWIN
        return load_dataset(render_once(bench, role, int(getattr(config, "image_size", 64)), 0))
    dataset = load_dataset(bench.dataset)
    check_data(entry, config, dataset, TrainingConfig().splits)
    return dataset


def reopen_study_context(folder: Path, bench: BenchEnvironment) -> StudyContext:
    """Return the context of an existing study; another dataset or instrument is a `UserError`."""
    spec, entry = check_reopening(folder, bench)
    dataset = _dataset_of(spec, entry, bench)
    instruments = open_instruments(bench)
    if instruments.hashes != spec.instruments:
        raise UserError("the study used other instruments than the ones here: its scores cannot be compared")
    return open_study_context(spec, folder, bench, dataset, instruments)


def check_reopening(folder: Path, bench: BenchEnvironment) -> tuple[StudySpec, MethodEntry]:
    """Return an existing study's specification and method; another version or named dataset is a `UserError`.

    Nothing is rendered.
    """
    spec = read_spec(folder)
    entry = trainable(spec.study.method, bench.methods)
    if entry.version != spec.method_version:
        raise UserError(
            f"the study used version {spec.method_version} of {entry.name}, here is {entry.version}"
        )
    if bench.dataset is not None:
        _dataset_of(spec, entry, bench)
    return spec, entry


def _dataset_of(spec: StudySpec, entry: MethodEntry, bench: BenchEnvironment) -> Dataset:
    dataset = study_dataset(bench, entry, from_dict(entry.config, spec.method_config, "method"))
    if dataset.content_hash != spec.dataset["content_hash"]:
        raise UserError(f"the study used another dataset than {dataset.name}: name its folder with --dataset")
    return dataset


def open_study_context(
    spec: StudySpec, folder: Path, bench: BenchEnvironment, dataset: Dataset, instruments: Instruments
) -> StudyContext:
    """Return the context of a study; pairs are drawn from validation identities and training targets only."""
    entry = trainable(spec.study.method, bench.methods)
    return StudyContext(
        spec=spec,
        folder=folder,
        entry=entry,
        base=from_dict(entry.config, spec.method_config, "method"),
        training=from_dict(TrainingConfig, spec.training, "training"),
        bench=bench,
        dataset=dataset,
        final=_scoring_context(spec.study, spec.study.pairs, bench, dataset, instruments),
        interim=_scoring_context(spec.study, spec.study.validation_pairs, bench, dataset, instruments),
    )


def check_settings(study: StudyConfig, base: Any, training: TrainingConfig) -> None:
    """Refuse a base config outside the space, and a budget in which the searched weights act for no time.

    `training` is a trial's, as `resolved_training` returns it.
    """
    find_space(study.space, study.also).values_of(base)
    warm = warm_images(base, training)
    left = study.images - warm
    if left <= 0:
        raise UserError(
            f"a trial trains on {study.images} images, and the first {warm} of them on reconstruction alone: "
            f"raise --images, or lower --set {warm_steps_field(base)}=N"
        )
    if study.prunes and study.min_resource >= left:
        raise UserError(
            f"min_resource is {study.min_resource}, but only {left} images follow the warm start: "
            "lower it with --set study.min_resource=N, or raise --images"
        )


def _scoring_context(
    study: StudyConfig, pairs: int, bench: BenchEnvironment, dataset: Dataset, instruments: Instruments
) -> ScoringContext:
    # Validation people are edited, so that only those trained on may be targets.
    protocol = Protocol(
        name="study", splits=(SPLIT,), pairs=pairs, seed=study.pairs_seed, target_splits=("train",)
    )
    return open_scoring(protocol, bench, {TWIN: dataset}, instruments)


def validate(
    method: Method, entry: MethodEntry, scoring: ScoringContext
) -> tuple[dict[str, float], pd.DataFrame]:
    """Return a method's scores on validation pairs, under the names `val/...` with accuracy in percent, and
    the pair table with the readings that they come from.
    """
    (data,) = scoring.splits
    scored = score_pairs(Editor(lambda request, truth: method.edit(request), entry.reads), scoring, data)
    summary, frame = dict(scored.summary), scored.frame
    if hasattr(method, "read_aus"):
        own = in_batches(method.read_aus, scored.edits, scoring.device, scoring.progress, "read own AUs")
        summary["own/mse"] = float(((own - au_matrix(frame, "target")) ** 2).mean())
    return {f"{SPLIT}/{name}": value for name, value in summary.items()}, frame


def check_finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that are numbers; `TrainingFailed` where one is not that a study goes by."""
    broken = [name for name, value in scores.items() if not math.isfinite(value)]
    if {ERROR, SKILL, ACCURACY} & set(broken):
        raise TrainingFailed(f"{', '.join(broken)} not finite on validation identities")
    return {name: value for name, value in scores.items() if name not in broken}


def with_room(study: StudyConfig, base: Any) -> StudyConfig:
    """Return the settings with images enough for a method whose warm start would leave none to compare."""
    warm = warm_images(base, resolved_training(study, TrainingConfig()))
    if study.images > warm + study.min_resource:
        return study
    return dataclasses.replace(study, images=warm + IMAGES_AFTER_WARM)


def resolved_training(study: StudyConfig, training: TrainingConfig) -> TrainingConfig:
    """Return a preset's training with the study's budget; it stops to be validated as the study says."""
    every = max(1, study.validate_every // study.batch_size)
    return dataclasses.replace(training, images=study.images, batch_size=study.batch_size, probe_every=every)


def make_spec(
    name: str,
    study: StudyConfig,
    entry: MethodEntry,
    base: Any,
    training: TrainingConfig,
    dataset: Dataset,
    instruments: Instruments,
    storage: str,
) -> StudySpec:
    """Return the specification of a study; `training` is a trial's, as `resolved_training` returns it."""
    return StudySpec(
        name=name,
        study=study,
        method_version=entry.version,
        method_config=to_dict(base),
        training=to_dict(training),
        dataset={"name": dataset.name, "size": dataset.size, "content_hash": dataset.content_hash},
        instruments=instruments.hashes,
        storage=storage,
    )
