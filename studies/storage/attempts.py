"""The attempts at a trial: one that died is closed and repeated by a later trial, which stands for it.

Samplers and pruners know nothing of this. `StandingStudy` shows them the study that there would be if no
process had died: without attempts that died, and each repeat at the place of the first one.
"""

import copy
from collections.abc import Container, Iterable, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from studies.space import find_space
from studies.storage.trial_table import params_of
from studies.study_config import StudyConfig

ATTEMPT, RETRY_OF = "attempt", "retry_of"
AGAIN = "again"  # on a closed trial: it is owed another try, because nothing was wrong with it


def retried_numbers(trials: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of trials that a later one repeats."""
    return {int(trial.user_attrs[RETRY_OF]) for trial in trials if RETRY_OF in trial.user_attrs}


def is_owed_another(trial: FrozenTrial) -> bool:
    """Return whether a trial died, and is repeated or waits to be."""
    return trial.state == TrialState.FAIL and AGAIN in trial.user_attrs


class Attempts:
    """Which trials of a study repeat which; `trials` are all of them."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        self._by_number = {trial.number: trial for trial in trials}
        self._last = {self.first(trial).number: trial for trial in trials}  # in the order of their numbers

    def earlier(self, trial: FrozenTrial) -> list[FrozenTrial]:
        """Return the dead trials that a trial repeats, the last one first."""
        earlier = []
        while RETRY_OF in trial.user_attrs:
            trial = self._by_number[int(trial.user_attrs[RETRY_OF])]
            earlier.append(trial)
        return earlier

    def first(self, trial: FrozenTrial) -> FrozenTrial:
        """Return the first attempt at a trial."""
        return [trial, *self.earlier(trial)][-1]

    def is_over(self, trial: FrozenTrial) -> bool:
        """Return whether neither a trial nor one that repeats it will go on with its training."""
        last = self._last[self.first(trial).number]
        return last.state.is_finished() and not is_owed_another(last)


def trial_key(trials: Sequence[FrozenTrial], trial: FrozenTrial) -> int:
    """Return which proposal a trial is, from 0, repeats not counted; a repeat has its first trial's key."""
    first = Attempts(trials).first(trial).number
    return sum(known.number < first for known in trials if RETRY_OF not in known.user_attrs)


class StandingStudy(optuna.Study):
    """A study to be read by a sampler or a pruner: only attempts that stand, numbered as their first ones."""

    def __init__(self, study: optuna.Study) -> None:
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


def queue_again(study: optuna.Study, settings: StudyConfig, trial: FrozenTrial, attempt: int) -> None:
    """Queue a trial once more, with its parameters.

    Where it died before it had them all the new one draws all of them, as it would have: Optuna stores them
    one by one, and the random numbers of the first would go to the second.
    """
    names, params = find_space(settings.space, settings.also).distributions, params_of(trial)
    attrs: dict[str, Any] = {RETRY_OF: trial.number, ATTEMPT: attempt}
    if "reference" in trial.user_attrs:
        attrs["reference"] = trial.user_attrs["reference"]
    study.enqueue_trial(params if names.keys() <= params.keys() else {}, user_attrs=attrs)


def queue_forgotten(study: optuna.Study, settings: StudyConfig) -> None:
    """Queue trials that were closed but not queued again, because whoever closed them died in between."""
    trials = study.get_trials(deepcopy=False)
    retried = retried_numbers(trials)
    for trial in trials:
        if is_owed_another(trial) and trial.number not in retried:
            queue_again(study, settings, trial, int(trial.user_attrs[AGAIN]))


def count_trials(study: optuna.Study) -> dict[str, int]:
    """Return how many trials are `settled`, `running` and `waiting`.

    A trial that was repeated, or that died before it had parameters, does not count: another stands for it.
    """
    trials = study.get_trials(deepcopy=False)
    retried = retried_numbers(trials)
    settled = [t for t in trials if t.state.is_finished() and t.number not in retried and params_of(t)]
    by_state = {state: sum(t.state == state for t in trials) for state in TrialState}
    return {
        "settled": len(settled),
        "running": by_state[TrialState.RUNNING],
        "waiting": by_state[TrialState.WAITING],
    }
