"""One `eggan study run`: from its arguments to the last trial."""

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from benchmarks.running.environment import BenchEnvironment, open_instruments
from benchmarks.scoring.instrument_choice import InstrumentChoice
from benchmarks.suites.equal_images import warm_images
from benchmarks.suites.presets import resolve, trainable
from eggan import tracking
from eggan.child_process import end_with_parent
from eggan.cluster.connection import ClusterChoice
from eggan.config import override
from eggan.errors import UserError
from eggan.files import check_writable, locked
from eggan.method import MethodEntry
from eggan.options import AUTO, resolve_device, this_command
from eggan.signals import resumable, stop_as_interrupt
from eggan.tracking import Store
from eggan.tracking.address import check_named
from eggan.training import TrainingConfig
from studies.sampling import expected_part
from studies.space import find_space
from studies.storage.liveness import Watch, close_stale
from studies.storage.study_storage import (
    STORAGE_ERRORS,
    check_address,
    create_study,
    full_address,
    open_study,
    stored_address,
    unusable,
)
from studies.storage.trial_tracking import open_study_run, settle_all
from studies.storage.trials import count_trials, queue_forgotten
from studies.study_config import SPEC_FILE, StudyConfig, StudySpec, read_spec, study_folder, write_spec
from studies.study_console import cost_lines, status_text, trial_seconds
from studies.study_context import (
    StudyContext,
    check_settings,
    make_spec,
    open_study_context,
    resolved_training,
    study_dataset,
    with_room,
)
from studies.worker import Worker

OF_TRIALS = {  # settings that `resolved_training` replaces: what to give in their place
    "training.batch_size": "--set study.batch_size=N",
    "training.images": "--images N",
    "training.epochs": "--images N",
    "training.probe_every": "--set study.validate_every=IMAGES",
}
STUDY_GROUP = "study."
NOT_DONE = 1
NAME_CHARACTERS = 100  # of a folder, and of what a database takes


@dataclass(frozen=True, kw_only=True)
class StudyCommand:
    """What commands that train for a study share: its name, the environment, the tracking store that is used
    (none with `offline`), and whether weights stay.
    """

    name: str
    bench: BenchEnvironment
    offline: bool = False
    tracking_uri: str | None = None
    keep_weights: bool = False

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return study_folder(self.bench.runs, self.name)

    def store(self) -> Store | None:
        """Return the store that runs are tracked in; one that does not answer is a `UserError`."""
        if self.offline:
            return None
        return tracking.open_store(self.tracking_uri, self.bench.runs, tracking.STUDIES)


def shared_choices(arguments: argparse.Namespace, name: str, device: str | None = None) -> dict[str, Any]:
    """Read the fields of a `StudyCommand`, on another `device` if one is named."""
    bench = BenchEnvironment(
        runs=arguments.runs,
        data=arguments.data,
        device=resolve_device(device or arguments.device),
        dataset=arguments.dataset,
        choice=InstrumentChoice.of(arguments),
    )
    others = ("offline", "tracking_uri", "keep_weights")
    return {"name": name, "bench": bench, **{field: getattr(arguments, field) for field in others}}


@dataclass(frozen=True, kw_only=True)
class StudySession(StudyCommand):
    """`eggan study run`; `url` is the database's address with its password, "" for the journal."""

    study: StudyConfig
    assignments: tuple[str, ...] = ()
    url: str = ""
    workers: int = 1
    arguments: argparse.Namespace = field(default_factory=argparse.Namespace, compare=False)
    cluster: ClusterChoice | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "StudySession":
        """Read the arguments; what is wrong in them is found before anything is rendered or trained."""
        study = study_config(arguments)
        if arguments.workers < 1:
            raise UserError("--workers must be at least 1")
        url = check_address(arguments.storage, arguments.workers) if arguments.storage else ""
        cluster = None if arguments.as_worker else ClusterChoice.of(arguments, arguments.workers)
        name = arguments.name or f"{study.space}-{study.objective}"
        if Path(name).name != name or name.startswith("."):
            raise UserError(f"--name {name!r} is not a plain name")
        if len(name) > NAME_CHARACTERS:
            raise UserError(f"--name has {len(name)} characters: take at most {NAME_CHARACTERS}")
        away = cluster is not None and not cluster.is_local  # its workers have devices of their own
        shared = shared_choices(arguments, name, AUTO if away else None)
        assignments = tuple(word for word in arguments.assignments if not word.startswith(STUDY_GROUP))
        _refuse_overridden(assignments)
        if not _names_images(arguments):
            entry = trainable(study.method, shared["bench"].methods)
            study = with_room(study, resolve(entry, study.preset, None, assignments).method)
        check_writable(study_folder(arguments.runs, name))
        if cluster is not None:
            from studies.cluster_workers import check_cluster  # which loads Dask

            check_cluster(cluster, arguments.storage)
        return cls(
            **shared,
            study=study,
            assignments=assignments,
            url=full_address(stored_address(url), url),  # with the password that the environment may hold
            workers=arguments.workers,
            arguments=arguments,
            cluster=cluster,
        )

    def context(self) -> StudyContext:
        """Return what all trials share; its dataset is rendered where it is missing."""
        entry, base, training = self._resolved()  # before anything is rendered
        instruments = open_instruments(self.bench)
        dataset = study_dataset(self.bench, entry, base)
        storage = stored_address(self.url)
        spec = make_spec(self.name, self.study, entry, base, training, dataset, instruments, storage)
        self._check_place(spec)
        return open_study_context(spec, self.folder, self.bench, dataset, instruments)

    def _resolved(self) -> tuple[MethodEntry, Any, TrainingConfig]:
        """Return the method, its config before a trial's parameters, and a trial's training."""
        entry = trainable(self.study.method, self.bench.methods)
        resolved = resolve(entry, self.study.preset, None, self.assignments)
        training = resolved_training(self.study, resolved.training)
        check_settings(self.study, resolved.method, training)
        return entry, resolved.method, training

    def _check(self) -> tuple[MethodEntry, Any, TrainingConfig]:
        """Return what `_resolved` does; a dataset that cannot be learnt from, and no address, are errors."""
        if not self.offline:
            check_named(self.tracking_uri)
        entry, base, training = self._resolved()
        if self.bench.dataset is not None:
            study_dataset(self.bench, entry, base)
        return entry, base, training

    def _check_place(self, spec: StudySpec) -> None:
        """Refuse a folder with another study in it, and a study that is kept elsewhere."""
        known = read_spec(self.folder) if self._exists() else spec
        if known.name != spec.name:
            raise UserError(
                f"{self.folder} holds the study {known.name}: name the folder so, or take a new --name"
            )
        if known.storage != spec.storage:
            raise UserError(
                f"the study {self.name} is kept in {known.storage or 'its journal file'}: give the same "
                "--storage, or a new --name"
            )

    def plan(self) -> str:
        """Return what `run` would do, and the line that does it again; nothing is rendered or created."""
        _, base, training = self._check()
        if self.bench.dataset is not None:
            open_instruments(self.bench)
        study = self.study
        existing = open_study(self.folder, self.url) if self._exists() else None
        settled = count_trials(existing)["settled"] if existing is not None else 0
        left = max(0, study.trials - settled)
        seconds, source = trial_seconds(study, existing, self.bench, self.folder)
        # Workers share the cores: side by side they take about as long as one after another.
        part = expected_part(study, warm_images(base, training))
        pruning = f"; pruning leaves about {part:.0%} of it on average" if study.prunes else ""
        hours = left * seconds * part / 3600
        each = f"{seconds / 60:.1f} min for a whole trial: {source}{pruning}"
        lines = [
            f"study {self.name}: {study.objective}, {study.method} preset {study.preset}, "
            f"{study.images} images x {len(study.seeds)} seed(s) per trial",
            f"trials: {study.trials} in all, {settled} done, {left} to run with {self.workers} worker(s)",
            *cost_lines(hours, each, self.workers, left, self.keep_weights),
        ]
        return "\n".join(lines)

    def _exists(self) -> bool:
        return (self.folder / SPEC_FILE).exists()

    def summary(self) -> str:
        """Return the study's trials, and how to continue it."""
        return f"{status_text(self.folder, self.url)}\ncontinue it: {this_command()}"

    def run(self) -> int:
        """Run the study to its number of trials; return 0, or 1 where a worker ended before that."""
        with resumable(), self._storage_named():
            return self._run()

    @contextmanager
    def _storage_named(self) -> Iterator[None]:
        """Say on one line that the storage went away in the middle."""
        try:
            yield
        except STORAGE_ERRORS as error:
            raise UserError(f"{unusable(self.url, error)}; the same command goes on") from None

    def _run(self) -> int:
        self._check()
        store = self.store()
        context = self.context()
        study = self._open(context)
        context.build_shared()
        run = open_study_run(context, study, store)
        state, reason = "interrupted", "stopped"
        try:
            self._work(context, study, store)
            settle_all(study, self.folder, store, self.keep_weights)
            state, reason = outcome(study, self.study)
        finally:
            run.finish(state, reason)
        return 0 if state == "finished" else NOT_DONE

    def _open(self, context: StudyContext) -> optuna.Study:
        """Create or open the study, and put right what a crash left behind."""
        study = create_study(context.spec, self.folder, self.url, context.references())
        write_spec(context.spec, self.folder)
        with locked(self.folder / ".repair.lock"):
            close_stale(study, self.study, Watch(self.folder))
            queue_forgotten(study, self.study)
            settle_all(study, self.folder, None, self.keep_weights)
        return study

    def _work(self, context: StudyContext, study: optuna.Study, store: Store | None) -> None:
        if self.cluster is None:
            Worker(context, study, store, self.keep_weights).run()
            return
        from studies.cluster_workers import run_on_cluster

        own = argparse.Namespace(**{**vars(self.arguments), "storage": self.url or None})
        run_on_cluster(self.cluster, context, own, self.workers)
        with locked(self.folder / ".repair.lock"):  # a trial whose worker died has its reason at once
            close_stale(study, self.study, Watch(self.folder))

    def work(self) -> int:
        """Be one worker of a study that the launching process has prepared."""
        end_with_parent()
        with stop_as_interrupt(), self._storage_named():
            context = self.context()
            study = open_study(self.folder, self.url)
            Worker(context, study, self.store(), self.keep_weights).run()
        return 0


def outcome(study: optuna.Study, settings: StudyConfig) -> tuple[str, str]:
    """Return the state of the study's run and its reason."""
    left = settings.trials - count_trials(study)["settled"]
    if left <= 0:
        return "finished", ""
    return "interrupted", f"{left} of {settings.trials} trials are not done here: the same command goes on"


def _names_images(arguments: argparse.Namespace) -> bool:
    named = any(word.startswith(f"{STUDY_GROUP}images=") for word in arguments.assignments)
    return named or arguments.images is not None


def _refuse_overridden(assignments: Sequence[str]) -> None:
    """Refuse settings of a training that every trial takes from the study's own."""
    for text in assignments:
        field = text.partition("=")[0].strip()
        if field in OF_TRIALS:
            raise UserError(f"--set {text}: a study's trials do not take it: give {OF_TRIALS[field]}")


def study_config(arguments: argparse.Namespace) -> StudyConfig:
    """Return the study's settings: the space's defaults, options, then `--set study.FIELD=VALUE`."""
    options = ("objective", "method", "preset", "trials", "images", "identity_floor")
    given = {name: getattr(arguments, name) for name in options}
    texts = [f"{name}={value}" for name, value in given.items() if value is not None]
    texts += [
        text.removeprefix(STUDY_GROUP) for text in arguments.assignments if text.startswith(STUDY_GROUP)
    ]
    space = find_space(arguments.space, arguments.also)
    base = dataclasses.replace(StudyConfig(), **space.defaults, space=space.name, also=tuple(arguments.also))
    config = override(base, texts)
    if config.space != arguments.space:
        raise UserError("name the space as the command's argument, not with --set")
    return config
