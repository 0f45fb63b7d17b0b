import tomllib

import pytest

from benchmarks.suites.methods import METHODS
from benchmarks.suites.presets import resolve
from eggan.config import from_dict, read_toml, to_dict
from eggan.errors import UserError
from eggan.model_config import quick_preset
from studies import selection
from studies.selection import config_text, pick
from studies.study_export import read_study
from tests.studies.fakes import fake_study

ALL = ("critic_steps", "latent_dim", "learning_rate")


@pytest.fixture(params=["constrained", "pareto"])
def data(request, tmp_path):
    fake_study(tmp_path / "s", request.param, 6, also=ALL)
    return read_study(tmp_path / "s")


def resolved(text, tmp_path, preset="cpu"):
    (tmp_path / "tuned.toml").write_text(text)
    return resolve(METHODS["eggan"], preset, tmp_path / "tuned.toml", [])


def test_the_file_makes_the_trials_config_whatever_the_preset(data, tmp_path):
    row = pick(data, None)
    params = data.study.trials[int(row["number"])].params
    wanted = data.spec.space.apply(quick_preset(), params)
    for preset in ("cpu", "quick"):
        config = resolved(config_text(data, row, only_searched=False), tmp_path, preset)
        assert config.method == wanted
    assert config.method.weight_au == params["lambda_au"]
    assert isinstance(config.method.critic_steps, int)


def test_the_training_is_the_studys(tmp_path):
    import dataclasses

    from eggan.training import TrainingConfig

    fake_study(tmp_path / "s", trials=4)
    data = read_study(tmp_path / "s")
    training = TrainingConfig(images=25_600, batch_size=16, probe_every=200)
    data = dataclasses.replace(data, spec=dataclasses.replace(data.spec, training=to_dict(training)))
    assert resolved(config_text(data, pick(data, None), False), tmp_path).training == training


def test_a_config_with_groups_of_settings_is_written_whole(tmp_path):
    import dataclasses

    from eggan.warp import CPU, DisturbConfig

    fake_study(tmp_path / "s", trials=4)
    data = read_study(tmp_path / "s")
    base = dataclasses.replace(CPU, disturbance=DisturbConfig(blur=0.3, bend=0.02))
    spec = dataclasses.replace(data.spec, method_config=to_dict(base))
    own = dataclasses.replace(data, spec=spec)
    text = config_text(own, pick(own, None), only_searched=False)
    values = tomllib.loads(text)["method"]
    assert from_dict(type(base), {key: values[key] for key in to_dict(base)}, "tuned") == base


def test_the_searched_fields_alone_leave_the_preset_its_own(data, tmp_path):
    text = config_text(data, pick(data, None), only_searched=True)
    (tmp_path / "few.toml").write_text(text)
    values = read_toml(tmp_path / "few.toml")
    assert set(values) == {"method"}
    assert set(values["method"]) == {p.field for p in data.spec.space.parameters}


def test_the_header_names_study_trial_and_scores_and_stays_a_comment(data):
    row = pick(data, None)
    object.__setattr__(data.spec, "name", 's\n[method]\nweight_au = 0 "')
    text = config_text(data, row, only_searched=True)
    header = text.partition("\n[method]\n")[0]
    assert all(line.startswith("#") for line in header.strip().splitlines())
    assert f"trial {row['number']}:" in header
    assert f"{row['val/au/skill']:.4f}" in header


def test_the_user_may_choose_another_trial(data):
    number = selection.complete(data.trials)["number"].iloc[-1]
    assert pick(data, int(number))["number"] == number
    with pytest.raises(UserError, match="trial 2 is not a complete trial"):
        pick(data, 2)


def test_the_best_from_the_command_line(eggan, tmp_path):
    fake_study(tmp_path / "studies" / "s", trials=6)
    out_file = tmp_path / "tuned.toml"
    status, out, _ = eggan("study", "best", "s", "--runs", tmp_path, "--export", out_file)
    assert status == 0
    assert "lambda_au" in out
    assert f"eggan train eggan --dataset FOLDER --config {out_file}" in out
    assert read_toml(out_file)["method"]["weight_au"] > 0
    assert eggan("study", "best", "s", "--runs", tmp_path, "--trial", 2)[0] == 2


@pytest.mark.slow
def test_eggan_trains_from_the_exported_file(eggan, trained, tmp_path, monkeypatch):
    from tests.conftest import TINY_TRAINING

    fake_study(tmp_path / "studies" / "s", trials=6)
    eggan("study", "best", "s", "--runs", tmp_path, "--export", tmp_path / "t.toml", "--only-searched")
    monkeypatch.chdir(trained)
    words = ["--dataset", "tiny", "--preset", "quick", "--config", tmp_path / "t.toml", "--offline"]
    status, _, err = eggan("train", "eggan", *words, "--out", tmp_path / "m", *TINY_TRAINING)
    assert status == 0, err
    import json

    card = json.loads((tmp_path / "m" / "config.json").read_text())
    assert card["config"]["weight_au"] == read_toml(tmp_path / "t.toml")["method"]["weight_au"]


def test_an_export_replaces_an_export_and_nothing_else(eggan, tmp_path):
    fake_study(tmp_path / "studies" / "s", trials=6)
    words, out_file = ("study", "best", "s", "--runs", tmp_path, "--export"), tmp_path / "tuned.toml"
    assert eggan(*words, out_file)[0] == 0
    whole = out_file.read_text()
    assert eggan(*words, out_file, "--only-searched")[0] == 0
    assert out_file.read_text() != whole
    out_file.write_text(changed := whole.replace("batch_size = ", "batch_size = 1"))
    status, _, err = eggan(*words, out_file)
    assert (status, "add --force" in err, out_file.read_text() == changed) == (2, True, True)
    assert eggan(*words, out_file, "--force")[0] == 0
    assert out_file.read_text() == whole
