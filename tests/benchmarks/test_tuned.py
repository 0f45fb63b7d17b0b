"""EGGAN tuned is EGGAN with the weights of a kept study's trial, and nothing else."""

from pathlib import Path

import reports
from benchmarks.suites import tuned_methods
from benchmarks.suites.methods import METHODS, all_methods, find_method, varied_methods
from benchmarks.suites.suite import find_suite
from eggan.config import from_dict, to_dict
from studies import selection
from studies.study_export import read_frame

ENTRY = varied_methods()[tuned_methods.NAME]


def test_its_presets_are_eggans_but_for_the_weights():
    assert set(ENTRY.presets) == set(tuned_methods.PRESETS)
    for name, preset in ENTRY.presets.items():
        before, after = to_dict(METHODS["eggan"].presets[name]), to_dict(preset)
        assert {field for field in after if before[field] != after[field]} == set(tuned_methods.WEIGHTS)
        assert from_dict(ENTRY.config, after) == preset  # a checkpoint's card can be read back


def test_the_weights_are_those_of_a_trial_of_the_kept_study():
    data = read_frame(Path(reports.__file__).parent / "results" / tuned_methods.STUDY)
    params = selection.row_of(data.trials, tuned_methods.TRIAL)
    assert params["state"] == "complete"
    chosen = {p.field: params[f"params_{p.name}"] for p in data.spec.space.parameters}
    assert dict(tuned_methods.WEIGHTS) == chosen
    assert selection.best(data.spec.study, data.trials) == tuned_methods.TRIAL


def test_the_study_searched_over_a_preset_that_is_tuned():
    data = read_frame(Path(reports.__file__).parent / "results" / tuned_methods.STUDY)
    assert (data.spec.study.method, data.spec.study.preset in tuned_methods.PRESETS) == ("eggan", True)


def test_the_twin_trains_it_as_eggan():
    rows = {row.method: row for row in find_suite("twin").rows}
    mine, full = rows[tuned_methods.NAME], rows["eggan"]
    assert (mine.preset, mine.training, mine.seeds) == (full.preset, full.training, full.seeds)
    assert find_method(tuned_methods.NAME, all_methods()) is ENTRY
