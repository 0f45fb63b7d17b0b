"""Which trials of a study are good: the best under the floor, the Pareto front, its knee."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eggan.errors import UserError
from eggan.options import command
from studies.study_config import StudyConfig

ERROR, SKILL, ACCURACY = "val/au/mse", "val/au/skill", "val/identity/accuracy"


def headline(study: StudyConfig) -> tuple[str, str]:
    """Return the two scores that reports show: the AU score that the study optimises, and accuracy."""
    return (SKILL if study.objective == "constrained" else ERROR), ACCURACY


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a trial frame that ran to their end."""
    return frame[frame["state"] == "complete"]


def pareto_front(frame: pd.DataFrame) -> list[int]:
    """Return the complete trials that none beats in both AU MSE and identity accuracy, by rising MSE."""
    done = complete(frame)
    points = done[[ERROR, ACCURACY]].to_numpy(np.float64) * (1, -1)
    beaten = [((points <= p).all(axis=1) & (points < p).any(axis=1)).any() for p in points]
    front = done[~np.array(beaten, dtype=bool)]
    return [int(number) for number in front.sort_values([ERROR, "number"])["number"]]


def ranked(study: StudyConfig, frame: pd.DataFrame) -> list[int]:
    """Return the trials that may be chosen, best first.

    One objective: those that keep the floor of identity accuracy, by AU skill. Two: those of the Pareto
    front, by distance to the point that has the front's least MSE and its highest accuracy, both scaled to
    the front's range; the first is its knee. Accuracy is an objective there and has no floor.
    """
    if study.has_floor:
        kept = complete(frame)
        kept = kept[kept["feasible"].astype(object) == True]  # noqa: E712  None: the floor was never read
        return [int(n) for n in kept.sort_values([SKILL, "number"], ascending=[False, True])["number"]]
    front = frame[frame["number"].isin(pareto_front(frame))]
    distance = np.hypot(_loss(-front[ERROR]), _loss(front[ACCURACY]))
    return [int(n) for n in front.assign(distance=distance).sort_values(["distance", "number"])["number"]]


def _loss(values: pd.Series) -> np.ndarray:
    """Return how far values fall behind the best, in parts of their range."""
    span = float(values.max() - values.min())
    return (values.max() - values).to_numpy(np.float64) / (span or 1.0)


def references(frame: pd.DataFrame) -> dict[str, int]:
    """Return the complete trials that others are compared with: "paper" and "preset" by name."""
    rows = complete(frame)
    rows = rows[rows["reference"] != ""]
    return {str(row["reference"]): int(row["number"]) for _, row in rows.iterrows()}


def best(study: StudyConfig, frame: pd.DataFrame) -> int:
    """Return the best trial; a `UserError` where there is none, or none keeps the floor."""
    order = ranked(study, frame)
    if order:
        return order[0]
    done = [int(number) for number in complete(frame)["number"]]
    if not done:
        raise UserError(
            f"the study has no complete trial yet: `{command('study status NAME')}` shows its trials"
        )
    raise UserError(
        f"no trial keeps the floor of {study.identity_floor:g} % identity accuracy: choose yourself "
        f"with --trial N, in `confirm` --trials N (complete: {', '.join(map(str, done))})"
    )


def chosen(frame: pd.DataFrame, numbers: Sequence[int]) -> list[int]:
    """Return `numbers` without repetition; one that is no complete trial is a `UserError`."""
    done = set(complete(frame)["number"])
    for number in numbers:
        if number not in done:
            raise UserError(
                f"trial {number} is not a complete trial: `{command('study status NAME')}` lists them"
            )
    return list(dict.fromkeys(numbers))


def row_of(frame: pd.DataFrame, number: int) -> pd.Series:
    """Return the row of a trial."""
    return frame[frame["number"] == number].iloc[0]
