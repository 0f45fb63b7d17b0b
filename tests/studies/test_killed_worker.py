"""A study whose worker was killed at a step and that was run again ends as one that never was."""

import json
import re
import shutil

import pytest

from studies.sampling import StandingStudy
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import trial_folder
from studies.storage.trials import is_owed_another
from tests.studies import dying
from tests.studies.study_context import make_context

# Two references and one that is pruned.
SETTINGS = {"trials": 3, "images": 16, "startup_trials": 3, "max_retries": 3}
PASSING = {
    "owner",
    "taker",
    "beat",
    "seconds",
    "seconds_before",
    "train_seconds",
    "retry_of",
    "attempt",
    "again",
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    make_context(root, **SETTINGS)
    return root / "faces"


def place(root, faces):
    shutil.copytree(faces, root / "faces")
    return root


@pytest.fixture(scope="module")
def undisturbed(faces, tmp_path_factory):
    """The steps of a study that nobody kills, and what it ends with."""
    root = place(tmp_path_factory.mktemp("undisturbed"), faces)
    return dying.command(root, **SETTINGS), ending(root)


def ending(root):
    """Return each standing trial with all that is stored and logged of it, and the names of all files."""
    folder = root / "runs" / "studies" / "small"
    study = open_study(folder)
    stored = []
    for trial in StandingStudy(study).get_trials():
        attrs = {name: value for name, value in trial.user_attrs.items() if name not in PASSING}
        rungs = {name: value for name, value in trial.system_attrs.items() if name.startswith("completed")}
        stored.append([trial.state, trial.params, trial.values, trial.intermediate_values, attrs, rungs])
    standing = [trial.number for trial in study.trials if not is_owed_another(trial)]
    return {
        "stored": stored,
        "logged": sorted(logged(trial_folder(folder, number)) for number in standing),
        "files": {re.sub(r"trials/\d+", "trials/*", f"{path.relative_to(root)}") for path in root.rglob("*")},
    }


def logged(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    values = {
        (line["step"], name, value) for line in lines for name, value in line["values"].items()
    }  # in which lines they come depends on where the training began again
    return sorted(triple for triple in values if "seconds" not in triple[1])


def step_of(steps, pattern, which=0):
    """Return the number of a step by what it does."""
    return [number for number, name in enumerate(steps) if re.search(pattern, name)][which]


MOMENTS = {
    "before it is its owner's": r"log .*\"trial_id\": 2, .*\"owner\"",
    "before the pruner has compared it": r"log .*\"trial_id\": 2, .*completed_rung_0",
    "before it is marked as pruned": r"log .*\"op_code\": 6, .*\"trial_id\": 2, \"state\": 2",
    "while another reference waits": r"log .*\"trial_id\": 0, .*completed_rung_1",
    "between a state and its weights": r"replace 0001/s0/weights",
    "after its last score": r"log .*\"op_code\": 6, .*\"trial_id\": 1, \"state\": 1",
    "while its files are removed": r"unlink 0001/s0/weights",
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_it_ends_bit_for_bit_as_if_nothing_had_been(tmp_path, faces, undisturbed, moment):
    steps, wanted = undisturbed
    root = place(tmp_path, faces)
    fatal = step_of(steps, MOMENTS[moment])
    assert len(dying.command(root, fatal, **SETTINGS)) == fatal
    dying.command(root, **SETTINGS)
    assert ending(root) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("again", [r"copy ", r"replace \d+/s0/training_state", r"log .*\"probes\""])
def test_it_does_where_the_repeat_is_killed_too_before_it_has_taken_everything_over(
    tmp_path, faces, undisturbed, again
):
    steps, wanted = undisturbed
    root = place(tmp_path, faces)
    first = step_of(steps, r"log .*\"trial_id\": 1, .*\"step\": 16")
    dying.command(root, first, **SETTINGS)
    rehearsal = place(tmp_path / "rehearsal", faces)
    shutil.copytree(root / "runs", rehearsal / "runs")
    second = step_of(dying.command(rehearsal, **SETTINGS), again)
    shutil.rmtree(rehearsal)
    dying.command(root, second, **SETTINGS)
    dying.command(root, **SETTINGS)
    assert ending(root) == wanted
