"""One trial: train with its parameters, look in between, score on validation identities."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import Trial

from eggan.method import Method
from eggan.training import TrainingConfig, TrainingFailed
from eggan.training_run import Log, Probe, run_training
from studies.storage.trial_table import SCORES
from studies.study_config import StudyConfig
from studies.study_context import StudyContext, validate, validate_pairs

PROBES = "probes"  # trial attribute: [[images, {score: value}], ...]
PROBED = ("val/au/mse", "val/au/skill", "val/identity/accuracy")


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
            self._goes_on = report(self.context, self.trial, images, values)

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
        return train_and_score(context, self.config, context.training, seed, folder, log, probe)[0]

    def _probe(self, step: int, method: Method) -> None:
        """Validate in between; outside the warm start the value goes to the pruner."""
        images = step * self.context.training.batch_size
        values = validate(method, self.context.entry, self.context.interim)
        self.log(step, {f"interim/{name}": value for name, value in values.items()})
        if images not in [probe[0] for probe in self.probes]:  # else a trial saw it that this one repeats
            self._add_probe(images, values)
            self._stop_if_pruned(images)

    def _add_probe(self, images: int, values: dict[str, float]) -> None:
        """Store an intermediate validation, and what the pruner says to it."""
        self.probes.append([images, {name: values[name] for name in PROBED}])
        self.trial.set_user_attr(PROBES, self.probes)
        self._goes_on = report(self.context, self.trial, images, values)

    def _stop_if_pruned(self, images: int) -> None:
        if not self._goes_on and images < self.context.images and self.may_prune:
            raise optuna.TrialPruned(f"pruned after {images} images")


def train_and_score(
    context: StudyContext,
    config: Any,
    training: TrainingConfig,
    seed: int,
    folder: Path,
    on_log: Log,
    on_probe: Probe | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Train with one seed, going on from what `folder` holds; return final scores and their pair table."""
    run = context.training_run(config, training, seed)
    trained = run_training(run, folder, on_log, on_probe)
    scores, frame = validate_pairs(trained.method, context.entry, context.final)
    scores["train_seconds"] = trained.result.seconds
    return {name: scores[name] for name in SCORES if name in scores}, frame


def check_finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores that are numbers; `TrainingFailed` where one is not that a study goes by."""
    broken = [name for name, value in scores.items() if not math.isfinite(value)]
    if set(PROBED) & set(broken):
        raise TrainingFailed(f"{', '.join(broken)} not finite on validation identities")
    return {name: value for name, value in scores.items() if name not in broken}


def report(context: StudyContext, trial: Trial, images: int, values: dict[str, float]) -> bool:
    """Hand an intermediate value to the pruner; return whether it lets the trial go on.

    The resource counts images after the warm start. Several objectives cannot be pruned.
    """
    resource = images - context.warm_images
    if not context.study.prunes or resource <= 0:
        return True
    trial.report(interim_value(context.study, values), resource)
    return not trial.should_prune()


def interim_value(study: StudyConfig, values: dict[str, float]) -> float:
    """Return AU skill less the shortfall of the accuracy (as a part of 1): pruners know no constraints."""
    shortfall = max(0.0, study.identity_floor - values["val/identity/accuracy"]) / 100
    return values["val/au/skill"] - shortfall


def objective_values(study: StudyConfig, scores: dict[str, float]) -> list[float]:
    """Return what the study optimises: [skill], or [AU MSE, identity accuracy]."""
    if study.objective == "constrained":
        return [scores["val/au/skill"]]
    return [scores["val/au/mse"], scores["val/identity/accuracy"]]


def floor_constraint(study: StudyConfig, accuracy: float) -> float:
    """Return by how much an accuracy misses the floor; the floor is kept where this is at most 0."""
    return study.identity_floor - accuracy
