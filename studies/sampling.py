"""Sampler and pruner of a study, as its settings pin them.

Optuna's know nothing of trials that died and were repeated. `StandingStudy` shows them the study that there
would be if no process had died: without attempts that died, and each repeat at the place of the first one.
"""

import copy
from collections.abc import Container, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from eggan.randomness import derive_seed
from studies.storage.trials import RETRY_OF, Attempts, is_owed_another
from studies.study_config import StudyConfig


def trial_key(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> int:
    """Return which proposal a trial is, from 0, repeats not counted; a repeat has its first trial's key."""
    first = Attempts(trials).first(trial).number
    return sum(known.number < first for known in trials if RETRY_OF not in known.user_attrs)


class StandingStudy(Study):
    """A study to be read by a sampler or a pruner: only attempts that stand, numbered as their first ones."""

    def __init__(self, study: Study) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        trials = study.get_trials(deepcopy=False)
        self._attempts = Attempts(trials)
        standing = [self.numbered(trial) for trial in trials if not is_owed_another(trial)]
        self._standing = sorted(standing, key=lambda trial: trial.number)

    def numbered(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial under the number of the first attempt at it."""
        renamed = copy.copy(trial)
        renamed.number = self._attempts.first(trial).number
        return renamed

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        found = [trial for trial in self._standing if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


def standing_view(study: Study, trial: FrozenTrial) -> tuple[StandingStudy, FrozenTrial]:
    """Return what a sampler may see of a study and of the trial that it draws."""
    standing = StandingStudy(study)
    return standing, standing.numbered(trial)


class KeyedSampler(BaseSampler):
    """TPE whose random numbers are a function of the study's seed and of which trial it proposes.

    No two trials share them, whoever asks, and nobody has to agree on anything: the storage numbers the
    trials. A trial that repeats a dead one draws what that one would have drawn, from what stands.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._tpe = make_tpe(config, 0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for this trial."""
        self._tpe = make_tpe(self._config, trial_key(study.get_trials(deepcopy=False), trial))
        self._tpe.before_trial(*standing_view(study, trial))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together."""
        return self._tpe.infer_relative_search_space(*standing_view(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values of the parameters that are drawn together."""
        return self._tpe.sample_relative(*standing_view(study, trial), search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of one parameter."""
        return self._tpe.sample_independent(*standing_view(study, trial), param_name, param_distribution)


def make_tpe(config: StudyConfig, key: int) -> TPESampler:
    """Return the sampler that proposes the trial with this key."""
    return TPESampler(
        n_startup_trials=config.startup_trials,
        multivariate=config.multivariate,
        constant_liar=True,  # trials of other workers count as bad ones, so that nobody proposes them again
        seed=derive_seed("study sampler", config.sampler_seed, key) % 2**32,
    )


class StandingPruner(SuccessiveHalvingPruner):
    """Successive halving among the trials that stand: one that died is not compared with its own repeat."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial is among those that do not go on."""
        return super().prune(StandingStudy(study), trial)


def make_pruner(config: StudyConfig) -> BasePruner:
    """Return the pruner; its resource is the images after the warm start."""
    if not config.prunes:
        return NopPruner()
    return StandingPruner(min_resource=config.min_resource, reduction_factor=config.reduction_factor)


def expected_part(config: StudyConfig, warm_images: int) -> float:
    """Return the mean cost of a trial as part of a whole one, if a rung lets 1 in `reduction_factor` pass.

    Rungs lie at `min_resource` images after the warm start and at its multiples by powers of that factor.
    """
    if not config.prunes:
        return 1.0
    left = config.images - warm_images
    seen, going_on, rung, reached = float(warm_images), 1.0, config.min_resource, 0
    while rung < left:
        seen += going_on * (rung - reached)
        going_on, reached, rung = going_on / config.reduction_factor, rung, rung * config.reduction_factor
    return (seen + going_on * (left - reached)) / config.images
