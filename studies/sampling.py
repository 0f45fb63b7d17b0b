"""Sampler and pruner of a study, as its settings pin them.

Optuna's know nothing of trials that died and were repeated. They are given each trial in the study that there
would be if no process had died: without attempts that died, and each repeat at the place of the first one.
"""

import copy
from collections.abc import Container, Sequence

from optuna import Study
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from eggan.randomness import derive_seed
from studies.storage.trials import RETRY_OF, Attempts, is_owed_another
from studies.study_config import StudyConfig


def trial_key(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> int:
    """Return which proposal a trial is, from 0, repeats not counted; a repeat has its first trial's key."""
    first = Attempts(trials).first(trial).number
    return sum(known.number < first for known in trials if RETRY_OF not in known.user_attrs)


class StandingStudy(Study):
    """A study as it would be if no process had died: only attempts that stand, numbered as their first ones.

    `asking` is a trial that is drawn from the others, or compared with them: it is not among them.
    """

    def __init__(self, study: Study, asking: FrozenTrial | None = None) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._study = study
        self._asking = None if asking is None else asking._trial_id

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        attempts, standing = Attempts(trials), []
        for trial in trials:
            others = trial._trial_id != self._asking and (states is None or trial.state in states)
            if others and not is_owed_another(trial):
                renamed = copy.copy(trial)
                renamed.number = attempts.first(trial).number
                standing.append(renamed)
        standing.sort(key=lambda trial: trial.number)
        return copy.deepcopy(standing) if deepcopy else standing


def standing_study(study: Study, config: StudyConfig, trial: FrozenTrial) -> StandingStudy:
    """Return the study in which Optuna's sampler and pruner find a trial's parameters and its rivals.

    The random numbers are a function of the study's seed and of which trial it is. No two trials share them,
    whoever asks, and nobody has to agree on anything: the storage numbers the trials. A trial that repeats a
    dead one draws what that one would have drawn, from what stands.
    """
    standing = StandingStudy(study, asking=trial)
    standing.sampler = make_tpe(config, trial_key(study.get_trials(deepcopy=False), trial))
    standing.pruner = make_pruner(config)
    return standing


def make_tpe(config: StudyConfig, key: int) -> TPESampler:
    """Return the sampler that proposes the trial with this key."""
    return TPESampler(
        n_startup_trials=config.startup_trials,
        multivariate=config.multivariate,
        constant_liar=True,  # trials of other workers count as bad ones, so that nobody proposes them again
        seed=derive_seed("study sampler", config.sampler_seed, key) % 2**32,
    )


def make_pruner(config: StudyConfig) -> BasePruner:
    """Return the pruner; its resource is the images after the warm start."""
    if not config.prunes:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=config.min_resource, reduction_factor=config.reduction_factor)


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
