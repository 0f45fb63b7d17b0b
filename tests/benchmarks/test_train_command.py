"""`eggan train` on a tiny dataset, in-process."""

import json
from pathlib import Path

import numpy as np
import pytest

from eggan.data.dataset import load_dataset, write_dataset
from eggan.tracking import SINGLE, open_store
from eggan.training_run import TrainingRun
from tests.conftest import TINY_TRAINING, tiny_manifest, write_tiny


@pytest.fixture
def workplace(trained, monkeypatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def test_training_leaves_a_checkpoint_and_a_finished_run(workplace):
    assert {"weights.safetensors", "config.json", "training_state.pt"} <= {
        p.name for p in (workplace / "m").iterdir()
    }
    record = json.loads((workplace / "m" / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["tags"]["suite"] == "single"
    assert record["params"]["training.images"] == "4"
    names = {
        name for line in (workplace / "m" / "metrics.jsonl").open() for name in json.loads(line)["values"]
    }
    assert "train/loss/au" in names


def test_training_does_not_write_over_another(workplace, eggan):
    before = (workplace / "m" / "weights.safetensors").read_bytes()
    status, _, err = eggan("train", "eggan", "--dataset", "tiny", "--offline", "--out", "m")
    assert status == 2
    assert "already holds a training: add --resume" in err
    assert (workplace / "m" / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eggan", "--preset", "paper"), "configured for 128 px but tiny has 64 px: choose another preset"),
        (("eggan", "--preset", "pape"), "did you mean paper?"),
        (("eggan-w", "--preset", "cpu"), "EGGAN-W learns from true edits, which tiny does not hold"),
        (("stargan", "--dataset", "unnamed"), "StarGAN learns from labels, but unnamed has"),
        (("eggan", "--out", "face.png"), "face.png is a file: name a folder with --out"),
    ],
)
def test_a_mistake_is_said_before_the_tracking_store_is_opened(workplace, eggan, monkeypatch, words, said):
    monkeypatch.setattr("eggan.tracking.store.open_store", lambda *_: pytest.fail("the store was opened"))
    if not Path("unnamed").exists():
        write_tiny(Path("unnamed"), tiny_manifest().assign(expression="unlabelled"))
    status, _, err = eggan("train", "--dataset", "tiny", "--runs", "other", *words)
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert not Path("other").exists()


def test_resume_with_other_settings_or_without_a_training_is_refused(workplace, eggan):
    common = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--resume")
    status, _, err = eggan(*common, "--out", "m", *TINY_TRAINING, "--seed", "1")
    assert (status, "other settings" in err) == (2, True)
    status, _, err = eggan(*common, "--out", "nowhere")
    assert (status, "nothing to resume" in err) == (2, True)
    assert not (workplace / "nowhere").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stargan", "--preset", "cpu"), "a training of eggan, not of stargan"),
        (
            ("eggan", "--preset", "quick", *TINY_TRAINING, "--set", "weight_au=50"),
            "other settings (weight_au is 30.0 there, 50.0 here)",
        ),
        (
            ("eggan", "--preset", "quick", *TINY_TRAINING, "--seed", "1"),
            "other settings (the seed, or a field of `training`)",
        ),
    ],
)
def test_a_refused_resume_builds_nothing_and_leaves_the_record_of_what_is_there(
    workplace, eggan, monkeypatch, words, said
):
    monkeypatch.setattr(TrainingRun, "build", lambda _: pytest.fail("pre-trained before it was refused"))
    before = {path: path.read_bytes() for path in (workplace / "m").iterdir() if path.is_file()}
    common = ("--dataset", "tiny", "--offline", "--out", "m", "--resume")
    status, _, err = eggan("train", *words, *common)
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert {path: path.read_bytes() for path in (workplace / "m").iterdir() if path.is_file()} == before


def write_people(folder: Path, seed: int) -> None:
    manifest = tiny_manifest()
    images = np.random.default_rng(seed).integers(0, 256, (len(manifest), 64, 64, 3), dtype=np.uint8)
    write_dataset(folder, "tiny", manifest, images, seed=seed, parameters={}, version="1")


def test_other_people_in_as_many_pictures_are_never_mixed_in(tmp_path, eggan, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_people(tmp_path / f"people{seed}", seed)
    common = ("--preset", "quick", "--offline", *TINY_TRAINING)
    status, _, _ = eggan("train", "eggan", "--dataset", "people0", *common)
    assert status == 0
    (folder,) = (tmp_path / "runs" / "single").iterdir()
    assert load_dataset(tmp_path / "people0").content_hash[:8] in folder.name
    status, _, err = eggan("train", "eggan", "--dataset", "people1", *common, "--resume")
    assert (status, "nothing to resume" in err) == (2, True)
    status, _, err = eggan("train", "eggan", "--dataset", "people1", *common, "--resume", "--out", folder)
    assert (status, "other images" in err) == (2, True)
    assert eggan("train", "eggan", "--dataset", "people1", *common)[0] == 0
    assert len(list((tmp_path / "runs" / "single").iterdir())) == 2


def test_an_offline_training_is_shipped_by_the_line_that_it_prints(workplace, eggan, tmp_path):
    common = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", *TINY_TRAINING)
    for place in (("--out", tmp_path / "m"), ()):
        status, out, _ = eggan(*common, "--runs", tmp_path / "runs", *place)
        assert status == 0
        (line,) = (line for line in out.splitlines() if "ship it: eggan " in line)
        status, out, err = eggan(*line.partition("ship it: eggan ")[2].split())
        assert (status, err) == (0, "")
        assert "1 runs are up to date" in out
    store = open_store(None, tmp_path / "runs", SINGLE)
    runs = store.client.search_runs([store.experiment_id])
    assert [run.data.tags["state"] for run in runs] == ["finished", "finished"]
    assert {entry.path for entry in store.client.list_artifacts(runs[0].info.run_id)} == {
        "config.json",
        "weights.safetensors",
    }


def test_a_training_whose_state_was_removed_begins_anew_with_metrics_of_its_own(tmp_path, eggan, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_people(tmp_path / "people", 0)
    common = ("train", "eggan", "--dataset", "people", "--preset", "quick", "--offline", "--out", "m")
    every = ("--set", "training.log_every=1")
    assert eggan(*common, *TINY_TRAINING, *every)[0] == 0
    (tmp_path / "m" / "training_state.pt").unlink()
    assert eggan(*common, *TINY_TRAINING, *every, "--set", "learning_rate=0.01")[0] == 0
    losses = []
    for folder in (tmp_path / "m", *(tmp_path / "m" / "before").iterdir()):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
        values = {
            line["step"]: line["values"]["train/loss/au"]
            for line in lines
            if "train/loss/au" in line["values"]
        }
        assert sorted(values) == [1, 2]
        losses.append(values[2])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("oracle", "--dataset", "tiny"), "oracle is a reference"),
        (("stylegan9", "--dataset", "tiny"), "unknown method 'stylegan9'"),
        (("eggan", "--dataset", "nowhere"), "nowhere is not a dataset"),
        (
            ("eggan", "--dataset", "tiny", "--device", "abacus", "--offline", "--out", "x"),
            "unknown device 'abacus'",
        ),
        (("eggan", "--dataset", "tiny", "--config", "no.toml"), "no.toml"),
    ],
)
def test_train_refuses_in_one_line(workplace, eggan, arguments, message):
    status, _, err = eggan("train", *arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_reason_is_recorded_when_a_run_cannot_start(workplace, eggan, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("EGGAN_WEIGHTS", raising=False)
    arguments = ("--set", "image_size=64", "--set", "ms_ssim_window=3", "--out", tmp_path / "p", "--offline")
    status, _, err = eggan("train", "eggan", "--dataset", "tiny", "--preset", "paper", *arguments)
    assert status == 2
    assert "vgg19-dcbb9e9d.pth not found" in err
    record = json.loads((tmp_path / "p" / "run.json").read_text())
    assert (record["state"], "vgg19" in record["reason"]) == ("failed", True)
