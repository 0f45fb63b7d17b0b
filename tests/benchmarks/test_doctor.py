"""`eggan doctor` reports findings and never fails."""

import hashlib

import pytest

from benchmarks import doctor


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
