"""A verifier's threshold is fixed on real pairs, on people apart from those that it is tried on."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from baselines import lightcnn
from baselines.official import lightcnn_key
from benchmarks.scoring.instrument_choice import InstrumentChoice, choose_instruments
from eggan.aus import EXPRESSIONS
from eggan.checkpoint import ModelCard, save_checkpoint
from eggan.errors import UserError
from eggan.evaluation import verification
from eggan.evaluation.verification import fit_threshold
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from tests.baselines.filling import fill
from tests.benchmarks.fakes import ColourVerifier, fake_instruments, make_dataset, silent
from tests.benchmarks.photographs import write_lightcnn, write_photographs


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twelve training people."""
    return make_dataset(tmp_path_factory.mktemp("many") / "d", {"train": 12, "test": 2}, gazes=("frontal",))


def fit(dataset, embed=None):
    return fit_threshold(dataset, embed or ColourVerifier().embed, "cpu", silent)


def noisy(images):
    """The colours of a person and of the painted AUs: people are mixed up sometimes."""
    return torch.nn.functional.normalize(images.mean(2).flatten(1) + 0.3, dim=1)


def test_the_threshold_lies_between_pairs_of_one_person_and_of_two(many):
    found = fit(many)
    assert found["impostor_cosine"] < found["cosine"] < 1
    assert (found["auc"], found["false_accept_rate"], found["false_reject_rate"]) == (1, 0, 0)
    assert (found["people"], found["genuine_pairs"], found["impostor_pairs"]) == (12, 12 * 28, 66 * 64)


def test_error_rates_are_those_on_people_that_did_not_fix_the_threshold(many, monkeypatch):
    """By hand, for one fold: the threshold of the others' pairs, its errors on this fold's."""
    seen = []
    real = verification.equal_error
    monkeypatch.setattr(verification, "equal_error", lambda *pairs: seen.append(pairs) or real(*pairs))
    found = fit(many, noisy)
    assert len(seen) == verification.FOLDS
    assert all(len(genuine) < 12 * 28 and len(impostor) < 66 * 64 for genuine, impostor in seen)
    assert sum(12 * 28 - len(genuine) for genuine, _ in seen) == 12 * 28  # each pair is held out once
    assert found["cosine"] == pytest.approx(np.mean([real(*pairs).threshold for pairs in seen]))


def test_the_test_people_play_no_part(many):
    manifest = many.manifest.copy()
    manifest.loc[manifest["split"] == "test", "split"] = "wide"
    assert fit(dataclasses.replace(many, manifest=manifest)) == fit(many)


def test_embeddings_that_know_nobody_are_refused(many):
    with pytest.raises(UserError, match="do not tell people apart"):
        fit(many, lambda images: torch.nn.functional.normalize(images[:, 0].mean(2), dim=1))


def test_too_few_people_or_photographs_are_told(tmp_path):
    few = make_dataset(tmp_path / "few", {"train": 3, "test": 1}, gazes=("frontal",))
    with pytest.raises(UserError, match="has 3 training people: a verifier's threshold needs 4"):
        fit(few)
    many = make_dataset(tmp_path / "one", {"train": 4, "test": 1}, gazes=("frontal",))
    first = ~many.manifest["identity"].duplicated()
    single = many.manifest.assign(split=np.where(first, many.manifest["split"], "wide"))
    with pytest.raises(UserError, match="two photographs each"):
        fit(dataclasses.replace(many, manifest=single))


def test_a_large_dataset_is_fixed_on_a_part_of_its_people(many, monkeypatch):
    monkeypatch.setattr(verification, "MOST_IMAGES", 40)
    assert fit(many)["people"] == 5
    assert fit(many) == fit(many)


class TestLightCNN:
    @pytest.fixture(scope="class")
    def rafd(self, tmp_path_factory):
        """Of each person three photographs: what a network embeds takes seconds."""
        faces = write_photographs(tmp_path_factory.mktemp("rafd") / "rafd")
        kept = faces.manifest["expression"].isin(EXPRESSIONS[:3])
        split = np.where(kept, faces.manifest["split"], "wide")
        return dataclasses.replace(faces, manifest=faces.manifest.assign(split=split))

    def choose(self, folder, dataset, cache):
        choice = InstrumentChoice(au="synfacs", verifier=f"lightcnn:{folder}")
        return choose_instruments(choice, dataset, "cpu", cache, fake_instruments, silent).verifier

    def test_the_threshold_is_stored_and_not_fixed_again(self, rafd, tmp_path, monkeypatch):
        folder = write_lightcnn(tmp_path / "lightcnn", rafd)
        verifier = self.choose(folder, rafd, tmp_path / "cache")
        (stored,) = (tmp_path / "cache").glob("threshold-*.json")
        assert json.loads(stored.read_text()) == verifier.card["threshold"]
        assert verifier.card["title"].startswith("LightCNN-9 (weights ")
        assert -1 < verifier.threshold < 1
        assert 0 <= verifier.card["threshold"]["false_accept_rate"] < 0.5
        monkeypatch.setattr(verification, "fit_threshold", lambda *_: pytest.fail("fixed again"))
        again = self.choose(folder, rafd, tmp_path / "cache")
        assert (again.threshold, again.sha256) == (verifier.threshold, verifier.sha256)

    def test_a_stored_threshold_that_is_damaged_or_of_another_version_is_fixed_again(
        self, rafd, tmp_path, monkeypatch, capsys
    ):
        fitted = dict.fromkeys(("false_accept_rate", "false_reject_rate", "auc", "impostor_cosine"), 0.5)
        fitted |= {"cosine": 0.25, "people": 8, "genuine_pairs": 9, "impostor_pairs": 10}
        monkeypatch.setattr(verification, "fit_threshold", lambda *_: fitted)
        whole, path = json.dumps(fitted), tmp_path / "threshold.json"
        old, infinite, text = {"cosine": 0.3}, fitted | {"cosine": math.inf}, fitted | {"cosine": "0.3"}
        broken = ("", whole[:-9], "[1]", "null", *map(json.dumps, (old, infinite, text)))
        for content in broken:
            path.write_text(content)
            assert verification.stored_threshold(path, rafd, None, "cpu", silent) == fitted
            assert capsys.readouterr().err.count("it is made again") == 1
            assert json.loads(path.read_text()) == fitted
        path.write_text(json.dumps(fitted | {"cosine": 0.3, "auc": math.nan}))
        assert verification.stored_threshold(path, rafd, None, "cpu", silent)["cosine"] == 0.3
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("variant", ["9", "29v2"])
    def test_weights_that_were_never_trained_are_refused(self, rafd, tmp_path, variant, eggan):
        """Filled weights tell these faces apart, but find all of them alike; the import alone cannot know."""
        network = fill(lightcnn.build_network(variant))
        state = {f"module.{lightcnn_key(key)}": value for key, value in network.state_dict().items()}
        path = tmp_path / "LightCNN_checkpoint.pth.tar"
        torch.save({"epoch": 1, "state_dict": state}, path)
        assert eggan("import", "lightcnn", path, "-o", tmp_path / "w")[0] == 0
        assert lightcnn.variant_of(lightcnn.load_lightcnn(tmp_path / "w")) == variant
        with pytest.raises(UserError, match=r"find all people alike \(mean cosine of two people 0.9"):
            self.choose(tmp_path / "w", rafd, tmp_path / "cache")
        assert not list((tmp_path / "cache").glob("threshold-*"))

    def test_another_checkpoint_is_not_lightcnn(self, rafd, tmp_path):
        save_checkpoint(tmp_path, ModelCard("eggan", 1, {}, 64), {"x": torch.zeros(1)})
        with pytest.raises(UserError, match="holds eggan, not lightcnn"):
            self.choose(tmp_path, rafd, tmp_path / "cache")


@pytest.mark.parametrize("size", [64, 128])
def test_lightcnn_sees_the_eyes_on_row_40_and_the_mouth_on_row_88(size):
    faces = torch.full((1, 3, size, size), -1.0)
    distance = EYE_DISTANCE / lightcnn.EYES_PER_MOUTH
    half = size // 64
    for row in (EYE_LINE * size, (EYE_LINE + distance) * size):
        faces[:, :, round(row) - half : round(row) + half] = 1.0
    bright = lightcnn.framed(faces, EYE_LINE, EYE_DISTANCE)[0, 0, :, 64] > 0
    rows = torch.arange(128)[bright].float() + 0.5
    assert lightcnn.framed(faces, EYE_LINE, EYE_DISTANCE).shape == (1, 3, 128, 128)
    assert rows[rows < 64].mean().item() == pytest.approx(40, abs=1.1)
    assert rows[rows > 64].mean().item() == pytest.approx(88, abs=1.1)
