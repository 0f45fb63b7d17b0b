"""`eggan train`, `eggan edit`, `eggan interpolate` on a tiny dataset, in-process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.suites import presets
from benchmarks.suites.methods import installed_method
from benchmarks.suites.suite import SUITES
from eggan.aus import AU_COUNT, au_index
from eggan.data.dataset import load_dataset, write_dataset
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit import editing
from eggan.errors import UserError
from eggan.evaluation import instruments
from eggan.method import EditRequest
from eggan.model import ENTRY
from eggan.tracking import SINGLE, open_store
from tests.conftest import TINY_TRAINING, tiny_manifest


@pytest.fixture
def workplace(trained, monkeypatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


class TestResolve:
    def test_the_preset_brings_the_suites_training(self):
        config = presets.resolve(ENTRY, "quick", None, [])
        assert config.method == ENTRY.presets["quick"]
        rows = [row for row in SUITES["quick"].rows if row.preset == "quick"]
        assert config.training == rows[0].training

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
            ("fast", "", [], r"no preset 'fast' \(known: paper, cpu, quick, crowd\)"),
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


def test_resume_with_other_settings_or_without_a_training_is_refused(workplace, eggan):
    common = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--resume")
    status, _, err = eggan(*common, "--out", "m", *TINY_TRAINING, "--seed", "1")
    assert (status, "other settings" in err) == (2, True)
    status, _, err = eggan(*common, "--out", "nowhere")
    assert (status, "nothing to resume" in err) == (2, True)
    assert not (workplace / "nowhere").exists()


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


def test_edit_writes_a_picture_that_depends_on_the_target(workplace, eggan, tmp_path):
    pictures = []
    for value in (0, 5):
        out = tmp_path / f"{value}.png"
        status, printed, err = eggan(
            "edit", "face.png", "--checkpoint", "m", "--au", f"12={value}", "-o", out
        )
        assert (status, err) == (0, "")
        assert f"wrote {out}" in printed
        pictures.append(np.asarray(Image.open(out)))
    assert pictures[0].shape == (64, 64, 3)
    assert (pictures[0] != pictures[1]).any()


def test_a_training_is_named_and_looked_up_in_the_folder_of_results(
    workplace, eggan, tmp_path, monkeypatch, trained
):
    (tmp_path / "scratch" / "single").mkdir(parents=True)
    (tmp_path / "scratch" / "single" / "first").symlink_to(trained / "m")
    monkeypatch.chdir(tmp_path)
    words = (trained / "face.png", "--au", "12=4", "--neutral", "--checkpoint", "first")
    assert eggan("edit", *words, "--runs", "scratch")[0] == 0
    status, _, err = eggan("edit", *words)
    assert (status, "first is not a checkpoint" in err) == (2, True)
    (tmp_path / "first").mkdir()  # what is there as it is named comes first
    status, _, err = eggan("edit", *words, "--runs", "scratch")
    assert (status, "first is not a checkpoint" in err) == (2, True)


def test_interpolate_writes_the_source_and_the_frames(workplace, eggan, tmp_path):
    out = tmp_path / "strip.png"
    options = ("--au", "12=5", "--steps", 4, "--neutral", "-o", out)
    status, _, err = eggan("interpolate", "face.png", "--checkpoint", "m", *options)
    assert (status, err) == (0, "")
    picture = np.asarray(Image.open(out))
    assert picture.shape == (64, 5 * 64 + 4 * editing.GAP, 3)
    assert np.array_equal(picture[:, :64], np.asarray(Image.open("face.png")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("edit", "face.png"), "at least one --au"),
        (("edit", "face.png", "--au", "12=6"), "AU12 = 6 is out of range"),
        (("edit", "face.png", "--au", "3=1"), "unknown AU 3"),
        (("edit", "face.png", "--au", "12=1", "--au", "12=2"), "AU12 is given twice"),
        (("edit", "face.png", "--au", "12=1", "--source-au", "99=1"), "unknown AU 99"),
        (("edit", "none.png", "--au", "12=1"), "no such image: none.png"),
        (("edit", "face.png", "--au", "12=1", "-o", "out.gif"), "must end in .png"),
        (("edit", "face.png", "--au", "12=1", "--checkpoint", "tiny"), "tiny is not a checkpoint"),
        (("interpolate", "face.png", "--au", "12=1", "--steps", "1"), "at least 2 frames"),
    ],
)
def test_edit_refuses_in_one_line(workplace, eggan, arguments, message):
    if "--checkpoint" not in arguments:
        arguments += ("--checkpoint", "m")
    status, _, err = eggan(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


class TestCheckpoints:
    @pytest.fixture
    def copy(self, trained, tmp_path) -> Path:
        for name in ("config.json", "weights.safetensors"):
            (tmp_path / "c").mkdir(exist_ok=True)
            shutil.copy(trained / "m" / name, tmp_path / "c" / name)
        return tmp_path / "c"

    def change(self, folder, **changes):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_an_intact_copy_loads(self, copy):
        assert editing.load_model(copy, installed_method, "cpu").image_size == 64

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format_version": 99}, "checkpoint version 99, this software reads"),
            ({"method_version": 99}, "is of eggan version 99"),
            ({"method": "oracle"}, "which has no weights"),
            ({"method": "lost"}, "unknown method 'lost'"),
            ({"config": {"latent_dims": 3}}, "unknown key 'latent_dims'"),
            ({"config": {"latent_dim": 8}}, "do not fit this config"),
        ],
    )
    def test_a_foreign_card_is_refused(self, copy, changes, message):
        self.change(copy, **changes)
        with pytest.raises(UserError, match=message):
            editing.load_model(copy, installed_method, "cpu")

    @pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
    @pytest.mark.parametrize("kept", [0, 0.5])
    def test_a_truncated_file_is_refused(self, copy, name, kept):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(UserError, match=f"{name} is corrupted"):
            editing.load_model(copy, installed_method, "cpu")


def test_the_shipped_eggan_w_edits_when_no_checkpoint_is_named(workplace, eggan, tmp_path):
    rendered = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", 256)
    Image.fromarray(rendered[:, :250]).save(tmp_path / "large.png")
    words = ("edit", tmp_path / "large.png", "--runs", tmp_path / "runs", "--au", "12=5", "--au", "25=4")
    status, out, err = eggan(*words, "-o", tmp_path / "out.png")
    assert status == 0
    assert "eggan-w of the shipped weights, trained on synfacs-crowd (rendered faces), reads 64 x 64" in out
    assert "cut to the centre 250 x 250" in out
    assert err.count("\n") == 1
    assert "large.png has 250 x 256 pixels" in err
    edited = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    change = np.abs(edited - rendered[3:253, :250]).max(2)
    assert change.shape == (250, 250)
    assert change[150:].max() > 40
    assert (change > 5).mean() < 0.3  # background, hair and clothes keep their own pixels


def test_a_checkpoint_that_is_named_is_used_and_named(workplace, eggan, tmp_path):
    status, out, _ = eggan(
        "edit", "face.png", "--checkpoint", "m", "--au", "12=5", "-o", tmp_path / "out.png"
    )
    assert (status, "eggan of m, trained on tiny" in out) == (0, True)


def test_the_shipped_weights_interpolate_at_the_photographs_own_size(workplace, eggan, tmp_path):
    rendered = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", 128)
    Image.fromarray(rendered).save(tmp_path / "large.png")
    words = ("interpolate", tmp_path / "large.png", "--au", "12=5", "--steps", 3)
    assert eggan(*words, "-o", tmp_path / "strip.png")[0] == 0
    strip = np.asarray(Image.open(tmp_path / "strip.png")).astype(int)
    assert strip.shape == (128, 4 * 128 + 3 * editing.GAP, 3)
    frames = [strip[:, k * (128 + editing.GAP) :][:, :128] for k in range(4)]
    assert np.array_equal(frames[0], rendered)
    moved = [np.abs(frame - frames[0]).mean() for frame in frames[1:]]
    assert moved[0] < moved[1] < moved[2]


def test_au_options_replace_only_what_they_name():
    base = np.full(AU_COUNT, 2.0, np.float32)
    vector = editing.au_vector(base, editing.parse_aus(["12=4"]))
    assert vector[au_index(12)] == 4
    assert (np.delete(vector, au_index(12)) == 2).all()
    assert (base == 2).all()


class Paint:
    """Answers with images of one grey, the mean of the target AUs / 5."""

    def edit(self, request: EditRequest) -> torch.Tensor:
        return (request.target_aus.mean(1) / 5).view(-1, 1, 1, 1).expand_as(request.source)


def test_interpolation_is_linear_in_the_aus_for_a_method_without_its_own():
    pixels = torch.zeros(1, 3, 4, 4)
    source, target = np.zeros(AU_COUNT, np.float32), np.full(AU_COUNT, 5, np.float32)
    model = editing.Model("paint", Paint(), 4, ("source", "target_aus"))
    frames = editing.interpolation(model, editing.edit_request(pixels, source, target, "cpu"), 5)
    assert frames.shape == (5, 3, 4, 4)
    assert frames[:, 0, 0, 0].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_source_intensities_as_told_need_no_instrument():
    pixels = torch.zeros(1, 3, 64, 64)
    assert (editing.source_intensities(pixels, [], True, "cpu") == 0).all()
    named = editing.source_intensities(pixels, ["12=3"], False, "cpu")
    assert named[au_index(12)] == 3
    assert named.sum() == 3


def test_source_intensities_are_read_by_estimator_a(monkeypatch):
    class Estimator:
        def predict(self, images):
            return torch.full((len(images), AU_COUNT), 1.5)

    monkeypatch.setattr(
        instruments, "load_au_estimator", lambda which, device: Estimator() if which == "a" else None
    )
    assert (editing.source_intensities(torch.zeros(1, 3, 64, 64), [], False, "cpu") == 1.5).all()
