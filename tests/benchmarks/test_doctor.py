"""`eggan doctor` reports findings and never fails."""

import hashlib

import pytest

from baselines.lightcnn import build_network
from benchmarks import doctor
from eggan.checkpoint import ModelCard, save_checkpoint
from eggan.faces.models import LANDMARKS, read_model
from tests.benchmarks.photographs import write_openface


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("EGGAN_WEIGHTS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_an_empty_machine_is_one_screen_and_status_0(eggan, tmp_path):
    status, out, err = eggan("doctor")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) < 40
    for section in ("machine", "instruments", "weights", "datasets", "tracking"):
        assert f"{section}\n" in out
    assert "eggan data build synfacs" in out
    assert "the first run creates it" in out
    assert not (tmp_path / "runs").exists()


def test_missing_and_wrong_weights_are_told_apart(tmp_path, monkeypatch):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg19-dcbb9e9d.pth").write_bytes(b"not the file")
    right = f"alexnet-owt-{hashlib.sha256(b'right').hexdigest()[:8]}.pth"
    (folder / right).write_bytes(b"right")
    monkeypatch.setattr(
        doctor, "WEIGHT_FILES", {"vgg19-dcbb9e9d.pth": "a", right: "b", "other-00000000.pth": "c"}
    )
    found = dict(doctor.weights())
    assert found["vgg19"].startswith("wrong file")
    assert found["alexnet"].startswith("found")
    assert found["other"] == "missing; unlocks c"


def test_datasets_are_listed_with_their_defects(dataset_folder):
    broken = dataset_folder.parent / "zbroken"
    broken.mkdir()
    (broken / "dataset.json").write_text("{}")
    found = dict(doctor.datasets(dataset_folder.parent))
    assert found["tiny"].startswith("8 images of 64 px")
    assert found["zbroken"].startswith("broken: ")


def test_a_store_that_does_not_answer_is_a_finding(eggan):
    status, out, _ = eggan("doctor", "--tracking-uri", "http://127.0.0.1:9")
    assert status == 0
    assert "http://127.0.0.1:9 does not answer" in out


def test_the_face_finder_is_there_and_its_lack_is_a_finding(tmp_path):
    digest = hashlib.sha256(read_model(LANDMARKS)).hexdigest()[:12]
    assert doctor.face_finder()[1].startswith("found, ")
    assert digest in doctor.face_finder()[1]
    assert doctor.face_finder(tmp_path)[1].startswith("missing (faces in photographs): the face models lack")


def test_openface_is_found_by_place_and_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "missing; unlocks AU labels and Table 1 of photographs" in doctor.openface(None)[1]
    folder = write_openface(tmp_path / "bin")
    digest = hashlib.sha256((folder / "FaceLandmarkImg").read_bytes()).hexdigest()[:12]
    assert doctor.openface(folder)[1].startswith(f"found, {folder / 'FaceLandmarkImg'}, sha256 {digest}")
    assert doctor.openface(tmp_path)[1].startswith("missing: OpenFace's program FaceLandmarkImg is not in")
    monkeypatch.setenv("PATH", str(folder))
    assert doctor.openface(None)[1].startswith("found, ")


def test_imported_lightcnn_weights_are_listed_with_the_option_that_uses_them(eggan, tmp_path):
    assert "missing in weights" in eggan("doctor")[1]
    network = build_network("9")
    folder = tmp_path / "weights" / "nine"
    save_checkpoint(folder, ModelCard("lightcnn", 1, {"variant": "9"}, 128), network.state_dict())
    save_checkpoint(tmp_path / "weights" / "other", ModelCard("stargan", 1, {}, 128), network.state_dict())
    out = eggan("doctor")[1]
    assert "LightCNN-9 " in out
    assert "(--verifier lightcnn:weights/nine)" in out
    assert "weights/other" not in out
    (folder / "weights.safetensors").write_bytes(b"cut")
    assert "broken: weights/nine/weights.safetensors is corrupted" in eggan("doctor")[1]


def test_weights_say_where_they_were_looked_for_and_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path / "mine"))
    found = dict(doctor.weights())
    assert found["looked in"].startswith(str(tmp_path / "mine"))
    assert found["from"].startswith("https://download.pytorch.org/models/")
    assert "EGGAN_WEIGHTS" in found["from"]


def test_optional_packages_say_what_they_unlock_and_how_to_get_them(monkeypatch):
    there = {"json": doctor.Package(("json",), "no-such-distribution", "a", "b")}
    gone = {"gone": doctor.Package(("json", "no_such_module"), "gone", "a thing", "pip install gone")}
    monkeypatch.setattr(doctor, "PACKAGES", there | gone)
    assert dict(doctor.packages()) == {
        "json": "found, of unknown version: a",
        "gone": "missing; unlocks a thing: pip install gone",
    }
