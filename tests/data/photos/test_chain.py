"""The whole chain: published files in, the dataset out that SynFACS gives directly, with the same scores."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baselines.references import COPY_SOURCE, TARGET_PASSTHROUGH, Reference
from benchmarks.protocol.edit_requests import split_data
from benchmarks.protocol.protocol_config import Protocol
from benchmarks.protocol.true_edits import TruthCache
from benchmarks.running.environment import load_instruments
from benchmarks.scoring.evaluate import Editor, ScoringContext, evaluate
from eggan.aus import AU_COLUMNS
from eggan.cli import main
from eggan.data.dataset import Dataset, load_dataset
from tests.data.published import write_image_labels, write_rafd, write_split, write_table

SAME = ["identity", "expression", "gaze", "split"]


def rafd(direct: Dataset, folder: Path, suffix: str, version: str) -> Dataset:
    """Return the dataset that the command builds of a RaFD tree with OpenFace labels."""
    names = write_rafd(direct, folder / "RaFD", suffix)
    labels = write_image_labels(names, direct.aus(np.arange(len(names))), folder / "csv", version)
    split = write_split(direct, folder / "split.csv")
    command = ["data", "build", "rafd", "--root", folder / "RaFD", "--labels", labels, "--split", split,
               "--size", "64", "--align", "centre", "--allow-incomplete", "--openface-version", "2.2.0",
               "--out", folder / "data"]  # fmt: skip
    assert main([str(word) for word in command]) == 0
    return load_dataset(folder / "data")


@pytest.fixture(scope="module")
def published(direct: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return rafd(direct, tmp_path_factory.mktemp("published"), ".jpg", "2.2")


@pytest.fixture(scope="module")
def lossless(direct: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return rafd(direct, tmp_path_factory.mktemp("lossless"), ".png", "2.1")


def summary(dataset: Dataset, method: Reference, cache: Path) -> dict[str, float]:
    """Return the scores of a reference method on a dataset, read by the shipped instruments."""
    protocol = Protocol(splits=("test",), probe_sources=2, sequences=2, alphas=3)
    pairs = [split_data(protocol, "test", dataset, dataset)]
    instruments = load_instruments("cpu")
    quiet = lambda items, *_: items  # noqa: E731
    lab = ScoringContext(protocol, pairs, instruments, TruthCache(cache, 1), "cpu", quiet)
    return evaluate(Editor(method.edit, method.reads), lab).summary


def test_a_lossless_tree_gives_the_same_dataset(direct: Dataset, lossless: Dataset) -> None:
    pd.testing.assert_frame_equal(lossless.manifest[SAME], direct.manifest[SAME])
    rows = np.arange(len(direct.manifest))
    assert (lossless.aus(rows) == direct.aus(rows)).all()
    assert (np.array(lossless.images) == direct.images).all()


def test_the_published_jpegs_give_the_same_labels_and_nearly_the_same_images(
    direct: Dataset, published: Dataset
) -> None:
    pd.testing.assert_frame_equal(published.manifest[SAME], direct.manifest[SAME])
    rows = np.arange(len(direct.manifest))
    assert (published.aus(rows) == direct.aus(rows)).all()
    error = np.abs(np.array(published.images).astype(float) - direct.images)
    assert 0 < error.mean() < 3


def test_the_labels_say_where_they_are_from(published: Dataset) -> None:
    assert set(published.manifest["label_tool"]) == {"OpenFace"}
    assert set(published.manifest["label_version"]) == {"2.2.0 static"}
    assert set(published.manifest["confidence"]) == {0.975}
    assert published.manifest["source_file"].iloc[0] == "Rafd090_28_Caucasian_male_angry_frontal.jpg"
    assert set(published.manifest["camera"]) == {"090"}
    assert set(published.manifest["group"]) == {"Caucasian", "Kid"}


@pytest.mark.slow
@pytest.mark.parametrize("method", [COPY_SOURCE, TARGET_PASSTHROUGH], ids=lambda method: method.name)
def test_scores_are_the_same(
    direct: Dataset, lossless: Dataset, published: Dataset, method: Reference, tmp_path: Path
) -> None:
    exact = summary(direct, method, tmp_path)
    assert {"test/au/mse", "test/au_b/mse", "test/identity/similarity"} <= set(exact)
    assert summary(lossless, method, tmp_path) == pytest.approx(exact, abs=0, nan_ok=True)
    near = summary(published, method, tmp_path)
    for metric in ("test/au/mse", "test/au_b/mse", "test/au/mae"):
        assert near[metric] == pytest.approx(exact[metric], abs=0.03)
    assert near["test/identity/similarity"] == pytest.approx(exact["test/identity/similarity"], abs=0.03)
    assert near["test/identity/accuracy"] == exact["test/identity/accuracy"]


def test_a_folder_with_a_table_gives_the_same_dataset(direct: Dataset, tmp_path: Path) -> None:
    names = write_rafd(direct, tmp_path / "photos", ".png")
    columns = {name: list(direct.manifest[name]) for name in SAME}
    table = write_table(tmp_path / "au.csv", names, direct.aus(np.arange(len(names))), columns)
    command = ["data", "build", "folder", "--root", tmp_path / "photos", "--labels", table, "--size", 64,
               "--align", "centre", "--out", tmp_path / "data", "--name", "mine"]  # fmt: skip
    assert main([str(word) for word in command]) == 0
    built = load_dataset(tmp_path / "data")
    assert built.name == "mine"
    pd.testing.assert_frame_equal(built.manifest[SAME], direct.manifest[SAME])
    assert (built.manifest[list(AU_COLUMNS)].to_numpy(np.float32) == direct.aus(np.arange(len(names)))).all()
    assert (np.array(built.images) == direct.images).all()
