"""The settings of a training: preset, file, assignments."""

from dataclasses import replace

import pytest

from benchmarks.suites import presets
from benchmarks.suites.methods import METHODS
from benchmarks.suites.suite import BUDGETS, STANDARD_IMAGES, SUITES
from eggan.errors import UserError
from eggan.model import ENTRY


class TestResolve:
    @pytest.mark.parametrize("preset", ["minutes", "quick", "cpu", "crowd"])
    def test_the_preset_brings_its_budget(self, preset):
        config = presets.resolve(ENTRY, preset, None, [])
        assert (config.method, config.training) == (ENTRY.presets[preset], BUDGETS[preset])

    def test_suites_train_eggans_presets_for_their_budgets(self):
        rows = [row for suite in SUITES.values() for row in suite.rows if row.method == "eggan"]
        budgets = {row.preset: row.training for row in rows if row.preset in BUDGETS}
        longer = replace(BUDGETS["crowd"], images=STANDARD_IMAGES)  # the shipped weights saw fewer
        assert budgets == {**{name: BUDGETS[name] for name in ("minutes", "cpu")}, "crowd": longer}

    def test_a_warm_up_leaves_time_for_what_follows(self):
        own = {name: budget for name, budget in BUDGETS.items() if name in ENTRY.presets}
        assert set(own) == {"minutes", "quick", "cpu", "crowd"}
        for name, budget in own.items():
            assert ENTRY.presets[name].rec_warm_steps < budget.images / budget.batch_size

    def test_the_wide_eggan_w_is_trained_as_in_its_suite(self):
        config = presets.resolve(METHODS["eggan-w"], "wide", None, [])
        (row,) = (row for row in SUITES["standard"].rows if row.preset == "wide")
        assert config.method == presets.preset_config(METHODS["eggan-w"], row)
        assert config.training == row.training

    def test_assignments_go_over_the_file_and_the_file_over_the_preset(self, tmp_path):
        path = tmp_path / "config.toml"
        path.write_text("[method]\nweight_au = 7\nweight_id = 8\n[training]\nbatch_size = 3\n")
        config = presets.resolve(ENTRY, "cpu", path, ["weight_id=9", "training.log_every=2"])
        assert (config.method.weight_au, config.method.weight_id) == (7.0, 9.0)
        assert (config.training.batch_size, config.training.log_every) == (3, 2)
        assert config.method.image_size == ENTRY.presets["cpu"].image_size

    @pytest.mark.parametrize(
        ("preset", "text", "assignments", "message"),
        [
            ("fast", "", [], r"no preset 'fast' \(known: paper, cpu, quick, minutes, crowd\)"),
            ("cpu", "[method]\nweight_aux = 1\n", [], r"config.toml.method: unknown key 'weight_aux'"),
            ("cpu", "[training]\nbatch = 1\n", [], "unknown key 'batch'"),
            ("cpu", "weight_au = 1\n", [], "unknown key 'weight_au' .known: method, training"),
            ("cpu", "method = 3\n", [], "config.toml.method is 3"),
            ("cpu", "", ["weight_aux=1"], "unknown key 'weight_aux'"),
            ("cpu", "", ["training.batch_size=0"], "batch_size is 0"),
            ("cpu", "", ["image_size=100"], "image_size is 100"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, preset, text, assignments, message):
        path = tmp_path / "config.toml"
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            presets.resolve(ENTRY, preset, path, assignments)
