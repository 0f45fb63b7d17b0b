"""What a study knows of its trials: their states and scores, as a table too, and which repeats which.

A trial that died is closed and repeated by a later trial, which stands for it.
"""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from studies.space import find_space
from studies.study_config import StudyConfig

if TYPE_CHECKING:  # the state of a study is listed without tables
    import pandas as pd

ATTEMPT, RETRY_OF = "attempt", "retry_of"
AGAIN = "again"  # on a closed trial: it is owed another try, because nothing was wrong with it
CLOSING_SECONDS = 3.0  # between a trial's end and its repeat in the queue, at most
PROBES = "probes"  # trial attribute: [[images, {score: value}], ...]
# trial attributes: seconds of training and scoring with those of attempts that it goes on with, and these
SECONDS, SECONDS_BEFORE = "seconds", "seconds_before"
FLOOR = "identity_floor"  # name of the constraint: percent by which the accuracy misses the floor
STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
SCORES = (
    "val/au/mse",
    "val/au/pcc",
    "val/au/skill",
    "val/au_b/mse",
    "val/au_b/pcc",
    "val/identity/accuracy",
    "val/identity/similarity",
    "val/own/mse",
    "train_seconds",
)
COLUMNS = ("number", "state", "reason", "reference", "is_paper", "feasible", "retry_of", "seconds")


def trial_frame(study: optuna.Study) -> "pd.DataFrame":
    """Return one row per trial, in order.

    Columns: number, state (waiting, running, complete, pruned, failed), reason, reference ("paper",
    "preset", ""), is_paper, feasible (None where no constraint was read), retry_of (missing: not a retry),
    seconds, params_*, and the final scores `SCORES` (NaN where there is none; accuracy in percent).
    """
    import pandas as pd

    rows = [_row(trial) for trial in study.get_trials(deepcopy=False)]
    params = dict.fromkeys(name for row in rows for name in row if name.startswith("params_"))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *params, *SCORES])
    return frame.astype({"retry_of": "Int64", **dict.fromkeys(("seconds", *SCORES), float)})


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attrs = trial.user_attrs
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "reason": attrs.get("reason", ""),
        "reference": attrs.get("reference", ""),
        "is_paper": attrs.get("reference") == "paper",
        "feasible": all(value <= 0 for value in trial.constraints.values()) if trial.constraints else None,
        "retry_of": attrs.get("retry_of"),
        "seconds": attrs.get(SECONDS),
        **{f"params_{name}": value for name, value in params_of(trial).items()},
        **{name: attrs.get(name) for name in SCORES},
    }


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters; those it was queued with where it has not drawn them (all) yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


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
    """Queue trials that were closed but not queued again, because whoever closed them died in between.

    A living one, of whatever machine, does it at once: it is given time, or the trial would be run twice.
    """
    if _forgotten(study):
        time.sleep(CLOSING_SECONDS)
        for trial in _forgotten(study):
            queue_again(study, settings, trial, int(trial.user_attrs[AGAIN]))


def _forgotten(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    retried = retried_numbers(trials)
    return [trial for trial in trials if is_owed_another(trial) and trial.number not in retried]


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
