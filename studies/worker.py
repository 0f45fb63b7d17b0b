"""A worker: takes trials from a study until it has enough, and survives each of them.

One trial: train with its parameters, validate in between, score on validation identities.
"""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from benchmarks.scoring.scores import NothingRead
from eggan import tracking
from eggan.checkpoint import STATE_FILE
from eggan.errors import UserError, is_disk_full
from eggan.files import locked
from eggan.method import Method
from eggan.tracking import Store
from eggan.training import Interrupted, TrainingFailed
from eggan.training_run import Log
from studies.storage.liveness import (
    CLOSED_ERRORS,
    REASON,
    Heartbeat,
    LostTrial,
    Watch,
    begin_trial,
    close_stale,
    close_trial,
    seconds_spent,
)
from studies.storage.study_storage import STORAGE_ERRORS
from studies.storage.trial_tracking import RUN_ID, TRACEBACK, open_trial_run, settle, trial_folder
from studies.storage.trials import (
    ATTEMPT,
    FLOOR,
    PROBES,
    SECONDS,
    SECONDS_BEFORE,
    Attempts,
    count_trials,
)
from studies.study_config import ACCURACY, ERROR, SKILL
from studies.study_context import StudyContext, check_finite, validate


@dataclass
class TrialRun:
    """A trial on its way. `log` takes tracked values by step, `check` may raise between steps."""

    context: StudyContext
    trial: Trial
    config: Any
    folder: Path
    log: Log
    check: Callable[[], None]
    may_prune: bool
    probes: list[list[Any]] = field(default_factory=list)
    _goes_on: bool = True  # whether the pruner lets it, by the last probe

    def repeat_probes(self, probes: list[list[Any]]) -> None:
        """Take over what a trial saw whose training this one goes on with."""
        self.probes = probes
        self.trial.set_user_attr(PROBES, probes)
        for images, values in probes:
            self._report(images, values)

    def scores(self) -> dict[str, float]:
        """Train with every seed and return the means of the final scores.

        Raises `optuna.TrialPruned` (on the first seed only: later ones say how sure the score is),
        `TrainingFailed` for a training or a score that is not finite, `Interrupted` after saving.
        """
        if self.probes:  # the trial that it repeats may have died before it was stopped by its last one
            self._stop_if_pruned(self.probes[-1][0])
        by_seed = [self._one_seed(seed, position) for position, seed in enumerate(self.context.study.seeds)]
        means = {name: sum(run[name] for run in by_seed) / len(by_seed) for name in by_seed[0]}
        return check_finite(means)

    def _one_seed(self, seed: int, position: int) -> dict[str, float]:
        context = self.context
        prefix = "train" if len(context.study.seeds) == 1 else f"train/s{seed}"

        def log(step: int, values: dict[str, float]) -> None:
            self.check()
            self.log(step, {f"{prefix}/{name}": value for name, value in values.items()})

        probe = self._probe if position == 0 else None
        folder = self.folder / f"s{seed}"
        return context.train_and_score(self.config, context.training, seed, folder, log, probe)[0]

    def _probe(self, step: int, method: Method) -> None:
        """Validate in between; outside the warm start the value goes to the pruner."""
        images = step * self.context.training.batch_size
        try:
            values, _ = validate(method, self.context.entry, self.context.interim)
        except NothingRead:  # what is drawn early may show no face to a reader of photographs
            return
        self.log(step, {f"interim/{name}": value for name, value in values.items()})
        if images not in [probe[0] for probe in self.probes]:  # else a trial saw it that this one repeats
            self._add_probe(images, values)
            self._stop_if_pruned(images)

    def _add_probe(self, images: int, values: dict[str, float]) -> None:
        """Store an intermediate validation, and what the pruner says to it."""
        self.probes.append([images, {name: values[name] for name in (ERROR, SKILL, ACCURACY)}])
        self.trial.set_user_attr(PROBES, self.probes)
        self._report(images, values)

    def _report(self, images: int, values: dict[str, float]) -> None:
        """Hand an intermediate value to the pruner, and note whether it lets the trial go on.

        The resource counts images after the warm start. Several objectives cannot be pruned.
        """
        study, resource = self.context.study, images - self.context.warm_images
        if study.prunes and resource > 0:
            self.trial.report(study.interim_value(values), resource)
            self._goes_on = not self.trial.should_prune()

    def _stop_if_pruned(self, images: int) -> None:
        if not self._goes_on and images < self.context.images and self.may_prune:
            raise optuna.TrialPruned(f"pruned after {images} images")


@dataclass
class Worker:
    """One process at work on a study."""

    context: StudyContext
    study: optuna.Study
    store: Store | None = None
    keep_weights: bool = False

    def __post_init__(self) -> None:
        self._watch = Watch(self.context.folder)

    def run(self) -> int:
        """Run trials until the study has as many as it should; return how many were run here."""
        done = 0
        while (trial := self._next()) is not None:
            self._run(trial)
            done += 1
        return done

    def _next(self) -> Trial | None:
        """Return the next trial, None when the study has enough; dead trials are put back first."""
        study, settings = self.study, self.context.study
        for number in close_stale(study, settings, self._watch):
            self._settle(number)
        with locked(self.context.folder / ".ask.lock"):  # or the workers of a machine would begin too many
            count = count_trials(study)
            if not count["waiting"] and count["settled"] + count["running"] >= settings.trials:
                return None
            if count["settled"] >= settings.trials:
                return None
            return begin_trial(study, settings)

    def _run(self, trial: Trial) -> None:
        """Run one trial and record its end; a stop, a full disk and a storage that is away are raised."""
        started = time.monotonic()
        try:
            with Heartbeat(trial, self.context.study.beat_seconds) as heartbeat:
                self._work(trial, heartbeat, started)
        except (LostTrial, UpdateFinishedTrialError):
            print(
                f"trial {trial.number} was closed by another worker; its result is dropped", file=sys.stderr
            )
            self._settle(trial.number)
            return
        except (Interrupted, KeyboardInterrupt) as stop:
            self._give_back(trial, started, "interrupted by the user")
            raise KeyboardInterrupt from stop
        except Exception as error:
            if is_disk_full(error):
                self._give_back(trial, started, "the disk is full")
            elif isinstance(error, STORAGE_ERRORS):
                self._give_back(trial, started, "the study's storage did not answer")
            raise
        self._settle(trial.number)

    def _work(self, trial: Trial, heartbeat: Heartbeat, started: float) -> None:
        try:
            run = self._open(trial, heartbeat)
            scores = run.scores()
        except optuna.TrialPruned as pruned:
            self._constrain(trial, run.probes[-1][1][ACCURACY])
            self._record_end(trial, started, str(pruned), TrialState.PRUNED)
        except (TrainingFailed, UserError) as known:
            if is_disk_full(known):
                raise
            self._record_end(trial, started, str(known), TrialState.FAIL)
        except (LostTrial, UpdateFinishedTrialError, Interrupted, *STORAGE_ERRORS):
            raise
        except Exception as bug:  # a bug that some parameters hit must not take the study with it
            if is_disk_full(bug):
                raise
            folder = trial_folder(self.context.folder, trial.number)
            (folder / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8")
            self._record_end(trial, started, f"{type(bug).__name__}: {bug}", TrialState.FAIL)
        else:
            self._complete(trial, started, scores)

    def _open(self, trial: Trial, heartbeat: Heartbeat) -> TrialRun:
        trials = self.study.get_trials(deepcopy=False)
        frozen = trials[trial.number]
        config = self.context.spec.space.apply(self.context.base, trial.params)
        earlier = Attempts(trials).earlier(frozen)
        tracked = open_trial_run(self.context, frozen, earlier, config, self.store)
        if self.store is not None:
            run_id = tracking.run_id_in(tracked.folder, self.store.uri)
            trial.set_user_attr(RUN_ID, {"uri": self.store.uri, "run_id": run_id})
        run = TrialRun(
            context=self.context,
            trial=trial,
            config=config,
            folder=tracked.folder,
            log=tracked.log,
            check=heartbeat.check,
            may_prune="reference" not in frozen.user_attrs,  # what others are compared with is run to its end
        )
        goes_on = bool(earlier) and any(tracked.folder.glob(f"s*/{STATE_FILE}"))
        begun = [attempt for attempt in earlier if SECONDS_BEFORE in attempt.user_attrs] if goes_on else []
        before = seconds_spent(begun[0], self.context.study) if begun else 0.0
        trial.set_user_attr(SECONDS_BEFORE, before)
        if goes_on:
            seen = (attempt.user_attrs.get(PROBES, []) for attempt in earlier)
            run.repeat_probes([*max(seen, key=len)])
        return run

    def _complete(self, trial: Trial, started: float, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        self._constrain(trial, scores[ACCURACY])
        values = self.context.study.objective_values(scores)
        self._record_end(trial, started, "", TrialState.COMPLETE, values)

    def _constrain(self, trial: Trial, accuracy: float) -> None:
        if self.context.study.has_floor:
            trial.set_constraint(FLOOR, self.context.study.identity_floor - accuracy)

    def _record_end(
        self, trial: Trial, started: float, reason: str, state: TrialState, values: Any = None
    ) -> None:
        try:
            trial.set_user_attr(REASON, reason)
            _set_seconds(trial, started)
            self.study.tell(trial, values, state=state)
        except CLOSED_ERRORS as error:
            raise LostTrial(f"trial {trial.number} was closed by another worker ({error})") from None

    def _give_back(self, trial: Trial, started: float, reason: str) -> None:
        """Close a trial that was stopped from outside, and queue it for whoever continues the study."""
        with suppress(*CLOSED_ERRORS):
            _set_seconds(trial, started)
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        attempt = int(frozen.user_attrs.get(ATTEMPT, 0))
        if close_trial(self.study, self.context.study, frozen, reason, attempt):
            self._settle(trial.number)

    def _settle(self, number: int) -> None:
        """Bring folder and run of a closed trial up to date."""
        trials = self.study.get_trials(deepcopy=False)
        settle(trials[number], trials, self.context.folder, self.store, self.keep_weights)


def _set_seconds(trial: Trial, started: float) -> None:
    """Store what a trial has taken since `started`, with the attempts that it goes on with."""
    before = float(trial.user_attrs.get(SECONDS_BEFORE, 0.0))
    trial.set_user_attr(SECONDS, before + time.monotonic() - started)
