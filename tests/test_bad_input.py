"""Everything a user can get wrong, through the command line: one clear line, status 2, and nothing lost."""

import errno
import json
import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from eggan.checkpoint import load_training_state
from eggan.data.dataset import Dataset, load_dataset
from eggan.errors import UserError
from eggan.evaluation import instruments
from tests.conftest import TINY_TRAINING


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Path:
    """A working folder of this test's own, a copy of `trained`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(trained, tmp_path / "place", ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def one_line(result, message):
    status, out, err = result
    assert status == 2, (out, err)
    assert message in err
    lines = [line for line in err.splitlines() if line and "it/s]" not in line]  # progress bars aside
    assert len(lines) == 1, err
    assert lines[0].startswith("eggan: ")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."
    }


class TestPhotographs:
    @pytest.fixture
    def edit(self, eggan, place):
        return lambda name, *more: eggan(
            "edit", name, "--checkpoint", "m", "--au", "12=4", "-o", "out.png", *more
        )

    def test_unreadable(self, edit, place):
        (place / "bad.png").write_text("no image")
        one_line(edit("bad.png"), "bad.png is not an image")
        assert not (place / "out.png").exists()

    def test_without_permission(self, edit, place):
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        (place / "face.png").chmod(0)
        one_line(edit("face.png"), "face.png cannot be read")

    def test_truncated(self, edit, place):
        content = (place / "face.png").read_bytes()
        (place / "cut.png").write_bytes(content[: len(content) // 2])
        one_line(edit("cut.png"), "cut.png cannot be read, it may be truncated")

    def test_huge(self, edit, place):
        Image.new("1", (12000, 12000)).save(place / "huge.png")
        one_line(edit("huge.png"), "more than 80 million pixels")

    @pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "CMYK", "I;16"])
    def test_other_colours_are_fine(self, edit, place, mode):
        image = Image.open(place / "face.png")
        sixteen = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
        name = "other.tiff" if mode == "CMYK" else "other.png"
        (sixteen if mode == "I;16" else image.convert(mode)).save(place / name)
        status, _, err = edit(name)
        assert (status, err) == (0, "")
        assert Image.open(place / "out.png").size == (64, 64)

    def test_exif_rotation_gives_the_upright_edit(self, edit, place):
        image = Image.open(place / "face.png")
        assert edit("face.png")[0] == 0
        upright = (place / "out.png").read_bytes()
        exif = Image.Exif()
        exif[0x0112] = 3
        image.rotate(180).save(place / "turned.png", exif=exif)
        status, out, _ = edit("turned.png")
        assert status == 0
        assert "turned upright" in out
        assert (place / "out.png").read_bytes() == upright

    def test_a_full_disk_keeps_the_old_picture(self, edit, place, monkeypatch):
        assert edit("face.png")[0] == 0
        before = (place / "out.png").read_bytes()

        def full(*_, **__):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Image.Image, "save", full)
        one_line(edit("face.png"), "No space left on device")
        assert (place / "out.png").read_bytes() == before


@pytest.mark.parametrize(
    ("au", "message"),
    [("12=5.5", "AU12 = 5.5 is out of range"), ("12=-1", "out of range"), ("12=nan", "out of range"),
     ("3=1", "unknown AU 3"), ("happy", "write NUMBER=INTENSITY")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["edit", "interpolate"])
@pytest.mark.usefixtures("place")
def test_a_bad_au(eggan, command, au, message):
    one_line(eggan(command, "face.png", "--checkpoint", "m", f"--au={au}", "--neutral"), message)


def rewrite(folder: Path, change) -> None:
    """Change the manifest behind the writer's back, as a hand-made or damaged dataset would have it."""
    manifest = pd.read_parquet(folder / "manifest.parquet")
    change(manifest)
    manifest.to_parquet(folder / "manifest.parquet", index=False)


def with_nan(manifest):
    manifest.loc[2, "au12"] = float("nan")


def with_overlap(manifest):
    manifest.loc[0, "split"] = "test"


def with_duplicate(manifest):
    manifest["source_file"] = ["same.jpg"] * len(manifest)


def with_excess(manifest):
    manifest.loc[2, "au12"] = 7.0


def with_empty_identity(manifest):
    manifest.loc[1, "identity"] = None


def with_numbers_as_people(manifest):
    manifest["identity"] = range(len(manifest))


def with_text_as_intensity(manifest):
    manifest["au12"] = "much"


def with_two_spellings(manifest):
    manifest["source_file"] = ["Zo\u00eb.jpg", "Zoe\u0308.jpg", *map(str, range(len(manifest) - 2))]


DEFECTS = [
    (with_empty_identity, "row 1 has identity = "),
    (with_numbers_as_people, "row 0 has identity = 0, which is no text"),
    (with_text_as_intensity, "the column 'au12' holds other things than numbers"),
    (with_two_spellings, "occurs twice"),
    (with_nan, "row 2 has au12 = nan"),
    (with_excess, "row 2 has au12 = 7.0"),
    (with_overlap, "identity 'id00' is in more than one split"),
    (with_duplicate, "'same.jpg' occurs twice"),
]
COMMANDS = [
    ("train", "eggan", "--dataset", "tiny", "--offline", "--out", "x"),
    ("bench", "run", "quick", "--dataset", "tiny", "--offline"),
    ("data", "info", "tiny"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
class TestDatasets:
    @pytest.fixture(autouse=True)
    def no_instruments(self, monkeypatch):
        """A suite loads its instruments before its dataset; here nothing gets as far as to use them."""
        monkeypatch.setattr(instruments, "load_au_estimator", lambda *_: None)
        monkeypatch.setattr(instruments, "load_verifier", lambda *_: None)

    @pytest.mark.parametrize(("change", "message"), DEFECTS, ids=lambda v: getattr(v, "__name__", ""))
    def test_a_defective_manifest(self, eggan, place, command, change, message):
        rewrite(place / "tiny", change)
        one_line(eggan(*command), message)

    @pytest.mark.parametrize("name", ["images.npy", "manifest.parquet", "dataset.json"])
    def test_a_missing_file(self, eggan, place, command, name):
        (place / "tiny" / name).unlink()
        one_line(eggan(*command), f"{name} is missing")

    @pytest.mark.parametrize("name", ["images.npy", "manifest.parquet", "dataset.json"])
    def test_a_truncated_file(self, eggan, place, command, name):
        path = place / "tiny" / name
        path.write_bytes(path.read_bytes()[:100])
        one_line(eggan(*command), "tiny")

    @pytest.mark.parametrize(
        "images",
        [np.zeros((8, 64, 64), np.uint8), np.zeros((8, 64, 64, 3), np.float32), np.zeros(8, np.uint8),
         np.zeros((8, 64, 64, 4), np.uint8), np.zeros((8, 0, 0, 3), np.uint8), np.zeros((8, 9, 8, 3), "u1")],
        ids=lambda images: f"{images.dtype}-{images.shape}",
    )  # fmt: skip
    def test_images_of_another_kind(self, eggan, place, command, images):
        np.save(place / "tiny" / "images.npy", images)
        one_line(eggan(*command), "not square uint8 RGB images")

    @pytest.mark.parametrize(
        "info", ["[]", "3", '{"format_version": 1}', '{"format_version": 1, "name": 2}', "[" * 9999]
    )
    def test_a_head_of_another_kind(self, eggan, place, command, info):
        (place / "tiny" / "dataset.json").write_text(info)
        one_line(eggan(*command), "tiny")


class TestConfigs:
    train = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "x")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[method]\nweigth_au = 3\n", "unknown key 'weigth_au'"),
            ("[training]\nbatch_size = 'two'\n", "training.batch_size is 'two'; expected int"),
            ("[extra]\n", "unknown key 'extra'"),
            ("[method\n", "is not valid TOML"),
        ],
    )
    def test_a_bad_file(self, eggan, place, text, message):
        (place / "c.toml").write_text(text)
        one_line(eggan(*self.train, "--config", "c.toml"), message)
        assert not (place / "x").exists()

    def test_a_bad_assignment(self, eggan, place):
        one_line(eggan(*self.train, "--set", "weigth_au=3"), "unknown key 'weigth_au'")
        assert not (place / "x").exists()


def optimizer_of(state):
    return next(iter(state["method"]["optimizers"].values()))


class TestCheckpoints:
    edit = ("edit", "face.png", "--checkpoint", "m", "--au", "12=4")

    def test_of_another_version(self, eggan, place):
        path = place / "m" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
        one_line(eggan(*self.edit), "checkpoint version 99")

    @pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
    def test_corrupted(self, eggan, place, name):
        path = place / "m" / name
        path.write_bytes(b"\xff" * 64 + path.read_bytes()[64:])
        one_line(eggan(*self.edit), f"{name} is corrupted")

    @pytest.mark.parametrize(
        ("key", "value"),
        [("method", {"name": 1}), ("config", []), ("image_size", "64"), ("image_size", 10**9),
         ("method_version", None)],
    )  # fmt: skip
    def test_a_card_of_another_kind(self, eggan, place, key, value):
        path = place / "m" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        one_line(eggan(*self.edit), "config.json is corrupted")

    @pytest.mark.parametrize(
        "text", ["[" * 100_000, '{"a":' * 100_000, "[]", "3", "\ud800".encode(errors="replace")]
    )
    def test_a_card_that_is_no_object(self, eggan, place, text):
        (place / "m" / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        one_line(eggan(*self.edit), "config.json is corrupted")

    @pytest.mark.parametrize(
        "change",
        [
            lambda s: s.pop("step"),
            lambda s: s.update(step=-1),
            lambda s: s.update(step="7"),
            lambda s: s.update(precision={}),
            lambda s: s.update(alarms=3),
            lambda s: s.update(window={"x": torch.zeros(2)}),
            lambda s: s.update(counts={"x": 0}),
            lambda s: s.pop("seconds"),
            lambda s: s.update(method=None),
            lambda s: s["method"]["networks"].update(c_exp=None),
            lambda s: s["method"].pop("optimizers"),
            lambda s: optimizer_of(s)["param_groups"][0].update(lr="fast"),
            lambda s: optimizer_of(s)["state"][0].pop("exp_avg"),
            lambda s: optimizer_of(s)["state"][0].update(exp_avg=torch.zeros(0)),
            lambda s: optimizer_of(s).update(state=torch.zeros(2)),
            lambda s: optimizer_of(s)["state"].update({0: torch.zeros(2)}),
            lambda s: optimizer_of(s).update(param_groups=[torch.zeros(2)]),
            lambda s: s["method"].update(optimizers=torch.zeros(2)),
        ],
    )  # fmt: skip
    def test_a_training_state_with_other_values(self, eggan, place, change):
        path = place / "m" / "training_state.pt"
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "m")
        result = eggan(*command, *TINY_TRAINING, "--set", "training.images=8", "--resume")
        assert result[0] == 2, result
        assert result[2].count("eggan: ") == 1

    @pytest.mark.parametrize(
        "content", [b"", b"PK\3\4", b"\x80\x02}q\0.", b"\x80\x04\x95\xff", b"cos\nsystem\n."]
    )
    def test_a_training_state_of_other_bytes(self, eggan, place, content):
        (place / "m" / "training_state.pt").write_bytes(content)
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "m")
        one_line(eggan(*command, *TINY_TRAINING, "--resume"), "training_state.pt")

    def test_torch_adds_no_warning_to_the_refusal_of_an_odd_pickle(self, place):
        (place / "m" / "training_state.pt").write_bytes(b"\x80\x71N.")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(UserError, match="corrupted"):
                load_training_state(place / "m", "cpu")
        assert not warned

    def test_a_corrupted_training_state_is_not_resumed(self, eggan, place):
        weights = (place / "m" / "weights.safetensors").read_bytes()
        (place / "m" / "training_state.pt").write_bytes(b"garbage")
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "m")
        one_line(eggan(*command, *TINY_TRAINING, "--resume"), "training_state.pt is corrupted")
        assert (place / "m" / "weights.safetensors").read_bytes() == weights


class TestFullDisk:
    def test_while_training_keeps_what_is_there_and_says_so(self, eggan, place, monkeypatch):
        """The disk fills between the end of the steps and the checkpoint of a resumed, longer training."""
        from eggan import checkpoint

        def full(*_, **__):
            raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

        before = snapshot(place / "m")
        monkeypatch.setattr(checkpoint.torch, "save", full)
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "m")
        status, _, err = eggan(*command, *TINY_TRAINING, "--resume")
        assert status == 2
        assert "No space left" in err
        after = snapshot(place / "m")
        assert {k: after[k] for k in ("weights.safetensors", "training_state.pt", "config.json")} == {
            k: before[k] for k in ("weights.safetensors", "training_state.pt", "config.json")
        }
        assert json.loads(after["run.json"])["state"] == "failed"


class TestTrackingStore:
    def test_that_does_not_answer_is_reported_at_once_and_costs_nothing(self, eggan, place):
        started = time.monotonic()
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--out", "x")
        one_line(
            eggan(*command, *TINY_TRAINING, "--tracking-uri", "http://127.0.0.1:9"), "http://127.0.0.1:9"
        )
        assert time.monotonic() - started < 20
        assert not (place / "x").exists()

    @pytest.mark.parametrize("uri", ["file:./mlruns", "nonsense", "http://no-such-host.invalid:5000"])
    def test_of_another_kind(self, eggan, place, uri):
        command = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--out", "x")
        one_line(eggan(*command, *TINY_TRAINING, "--tracking-uri", uri), uri)

    def test_suites_say_it_too(self, eggan, place):
        command = ("bench", "run", "quick", "--tracking-uri", "http://127.0.0.1:9")
        one_line(eggan(*command), "http://127.0.0.1:9")


def test_the_fixture_is_sound(place):
    """The dataset and checkpoint that the tests above spoil are fine before."""
    assert isinstance(load_dataset(place / "tiny"), Dataset)
    assert {"weights.safetensors", "config.json", "training_state.pt"} <= snapshot(place / "m").keys()
