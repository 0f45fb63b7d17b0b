"""A study as a table: what reports, listings and exports read."""

from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:  # the state of a study is listed without tables
    import pandas as pd

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
FLOOR = "identity_floor"  # name of the constraint: percent by which the accuracy misses the floor


def trial_frame(study: optuna.Study) -> "pd.DataFrame":
    """Return one row per trial, in order.

    Columns: number, state (waiting, running, complete, pruned, failed), reason, reference ("paper",
    "preset", ""), is_paper, feasible (None where no constraint was read), retry_of (missing: not a retry),
    seconds, params_*, and the final scores `SCORES` (NaN where there is none; accuracy in percent).
    """
    import pandas as pd

    trials = study.get_trials(deepcopy=False)
    names = list(dict.fromkeys(name for trial in trials for name in params_of(trial)))
    columns = [*_fixed(None), *(f"params_{name}" for name in names), *SCORES]
    rows = [_fixed(trial) | _params(trial) | _scores(trial) for trial in trials]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"retry_of": "Int64", **dict.fromkeys(("seconds", *SCORES), float)})


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters; those it was queued with where it has not drawn them (all) yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def feasible(trial: FrozenTrial) -> bool | None:
    """Return whether the trial kept the floor; None where that was never read."""
    return all(value <= 0 for value in trial.constraints.values()) if trial.constraints else None


def _fixed(trial: FrozenTrial | None) -> dict[str, Any]:
    attrs = trial.user_attrs if trial else {}
    return {
        "number": trial.number if trial else 0,
        "state": STATES[trial.state] if trial else "",
        "reason": attrs.get("reason", ""),
        "reference": attrs.get("reference", ""),
        "is_paper": attrs.get("reference") == "paper",
        "feasible": feasible(trial) if trial else None,
        "retry_of": attrs.get("retry_of"),
        "seconds": attrs.get("seconds"),
    }


def _params(trial: FrozenTrial) -> dict[str, Any]:
    return {f"params_{name}": value for name, value in params_of(trial).items()}


def _scores(trial: FrozenTrial) -> dict[str, float | None]:
    return {name: trial.user_attrs.get(name) for name in SCORES}
