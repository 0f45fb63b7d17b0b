import numpy as np
import pandas as pd
import pytest

from eggan.errors import UserError
from studies import selection
from studies.study_config import StudyConfig

PARETO = StudyConfig(objective="pareto")


def frame(*rows):
    """Rows of (mse, accuracy, state)."""
    table = pd.DataFrame(rows, columns=["val/au/mse", "val/identity/accuracy", "state"])
    skill = 1 - table["val/au/mse"] / 2
    feasible = [bool(a >= 30) if s == "complete" else None for _, a, s in rows]
    return table.assign(
        number=range(len(rows)), reference="", feasible=feasible, **{"val/au/skill": skill}
    ).astype({"feasible": object})


def test_the_front_holds_what_nothing_beats_in_both():
    table = frame(
        (1.0, 20.0, "complete"),
        (1.1, 50.0, "complete"),
        (1.2, 49.0, "complete"),  # beaten by 1
        (2.0, 90.0, "complete"),
        (0.1, 99.0, "pruned"),
        (np.nan, np.nan, "failed"),
    )
    assert selection.pareto_front(table) == [0, 1, 3]


def test_equal_trials_are_both_on_the_front():
    assert selection.pareto_front(frame((1.0, 50.0, "complete"), (1.0, 50.0, "complete"))) == [0, 1]


def test_the_knee_is_nearest_to_the_best_of_both():
    table = frame(
        (1.0, 29.0, "complete"), (1.1, 80.0, "complete"), (1.9, 88.0, "complete"), (2.0, 90.0, "complete")
    )
    assert selection.ranked(PARETO, table)[0] == 1
    assert set(selection.ranked(PARETO, table)) == {0, 1, 2, 3}
    assert selection.best(PARETO, table) == 1


def test_of_two_objectives_accuracy_is_one_and_has_no_floor():
    table = frame((1.0, 5.0, "complete"), (2.0, 8.0, "complete"), (2.5, 6.0, "complete"))
    assert set(selection.ranked(PARETO, table)) == {0, 1}


def test_the_best_of_one_objective_keeps_the_floor():
    table = frame(
        (0.5, 10.0, "complete"), (1.0, 40.0, "complete"), (0.9, 31.0, "complete"), (0.1, 90.0, "pruned")
    )
    assert selection.ranked(StudyConfig(), table) == [2, 1]


def test_without_a_trial_above_the_floor_the_user_has_to_choose():
    with pytest.raises(
        UserError, match=r"keeps the floor of 30 %.*--trial N, in `confirm` --trials N \(complete: 0\)"
    ):
        selection.best(StudyConfig(), frame((1.0, 10.0, "complete"), (1.0, 90.0, "failed")))


@pytest.mark.parametrize("study", [StudyConfig(), PARETO])
def test_without_a_complete_trial_there_is_no_best(study):
    with pytest.raises(UserError, match="no complete trial yet"):
        selection.best(study, frame((1.0, 90.0, "failed")))


def test_only_complete_trials_can_be_chosen():
    table = frame((1.0, 40.0, "complete"), (1.0, 40.0, "pruned"))
    assert selection.chosen(table, [0, 0]) == [0]
    for number in (1, 7):
        with pytest.raises(UserError, match=f"trial {number} is not a complete trial"):
            selection.chosen(table, [number])
