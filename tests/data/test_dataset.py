"""The dataset format: what is written comes back, defects are named, a folder appears whole or not at all."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eggan.aus import AU_COLUMNS
from eggan.data.dataset import check_manifest, load_dataset, write_dataset
from eggan.data.images import to_network_range, to_uint8
from eggan.errors import UserError


def write(folder, manifest, images=None):
    if images is None:
        images = np.zeros((len(manifest), 8, 8, 3), np.uint8)
    return write_dataset(folder, "tiny", manifest, images, seed=3, parameters={"a": 1}, version="2")


def test_what_is_written_comes_back(tmp_path, manifest):
    images = np.random.default_rng(0).integers(0, 256, (len(manifest), 8, 8, 3), dtype=np.uint8)
    dataset = load_dataset(write(tmp_path / "d", manifest, images))
    assert np.array_equal(dataset.images, images)
    pd.testing.assert_frame_equal(dataset.manifest, manifest, check_dtype=False)
    assert (dataset.name, dataset.size, dataset.info["seed"], dataset.info["version"]) == ("tiny", 8, 3, "2")
    assert dataset.rows("train").tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.rows("test", "train").tolist() == list(range(8))
    assert dataset.aus(np.array([7])).dtype == np.float32
    assert np.allclose(dataset.aus(np.array([7]))[0], manifest.loc[7, list(AU_COLUMNS)].to_numpy(float))
    assert dataset.expressions(np.array([0, 1])).tolist() == [0, 1]
    assert dataset.tensor(np.array([5, 2])).shape == (2, 3, 8, 8)
    assert np.array_equal(dataset.tensor(np.array([5]))[0].permute(1, 2, 0).numpy(), images[5])


def test_the_hash_follows_the_content(tmp_path, manifest):
    same = [load_dataset(write(tmp_path / name, manifest)).content_hash for name in "ab"]
    assert same[0] == same[1]
    images = np.zeros((len(manifest), 8, 8, 3), np.uint8)
    images[0, 0, 0, 0] = 1
    assert load_dataset(write(tmp_path / "c", manifest, images)).content_hash != same[0]


def test_an_expression_without_a_name_of_ours_is_minus_one(tmp_path, manifest):
    manifest.loc[0, "expression"] = "bored"
    assert load_dataset(write(tmp_path / "d", manifest)).expressions(np.array([0, 1])).tolist() == [-1, 1]


@given(st.integers(0, 255))
def test_uint8_survives_the_network_range(level):
    image = torch.full((1, 3, 2, 2), level, dtype=torch.uint8)
    scaled = to_network_range(image)
    assert -1 <= scaled.min() <= scaled.max() <= 1
    assert torch.equal(to_uint8(scaled), image)


def test_to_uint8_clamps():
    assert to_uint8(torch.tensor([-3.0, 0.0, 3.0])).tolist() == [0, 128, 255]


def spoil(manifest, column, row, value):
    manifest[column] = manifest[column].astype(object)
    manifest.loc[row, column] = value
    if column in AU_COLUMNS:
        manifest[column] = manifest[column].astype(float)
    return manifest


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("au12", 2, float("nan"), "row 2 has au12 = nan"),
        ("au12", 2, 5.01, "row 2 has au12 = 5.01, outside"),
        ("au45", 0, -0.1, "row 0 has au45 = -0.1, outside"),
        ("split", 3, "holdout", "unknown split 'holdout'"),
        ("split", 0, "test", "identity 'id00' is in more than one split"),
        ("identity", 7, "id00", "identity 'id00' is in more than one split"),
    ],
)
def test_defects_are_named(tmp_path, manifest, column, row, value, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path / "d", spoil(manifest, column, row, value))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_occurs_twice_is_named(manifest):
    manifest["source_file"] = [f"{i}.jpg" for i in range(len(manifest))]
    check_manifest(manifest, 8, "d")
    manifest.loc[5, "source_file"] = "1.jpg"
    with pytest.raises(UserError, match=r"'1\.jpg' occurs twice"):
        check_manifest(manifest, 8, "d")


def test_missing_columns_and_a_wrong_count_are_named(manifest):
    with pytest.raises(UserError, match="lacks the column 'gaze'"):
        check_manifest(manifest.drop(columns="gaze"), 8, "d")
    with pytest.raises(UserError, match="8 rows but there are 9 images"):
        check_manifest(manifest, 9, "d")


@pytest.mark.parametrize("name", ["dataset.json", "manifest.parquet", "images.npy"])
def test_a_missing_file_is_named(dataset_folder, name):
    (dataset_folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        load_dataset(dataset_folder)


@pytest.mark.parametrize("name", ["dataset.json", "manifest.parquet", "images.npy"])
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_truncated_file_is_refused(dataset_folder, name, kept):
    path = dataset_folder / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UserError, match=str(dataset_folder)):
        load_dataset(dataset_folder)


def test_another_format_version_is_refused(dataset_folder):
    path = dataset_folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(UserError, match="format version 99, this software reads 1"):
        load_dataset(dataset_folder)


def test_a_name_that_leads_elsewhere_is_refused(dataset_folder):
    path = dataset_folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "x/../../../elsewhere"}))
    with pytest.raises(UserError, match="is no plain name"):
        load_dataset(dataset_folder)


def test_objects_in_the_image_file_are_never_unpickled(dataset_folder):
    np.save(dataset_folder / "images.npy", np.array([{}] * 8, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        load_dataset(dataset_folder)


def test_a_full_disk_keeps_the_old_dataset(dataset_folder, manifest, monkeypatch):
    before = load_dataset(dataset_folder).content_hash

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        write(dataset_folder, manifest)
    assert load_dataset(dataset_folder).content_hash == before
    assert [path.name for path in dataset_folder.parent.iterdir()] == [dataset_folder.name]


def test_images_of_another_type_are_refused(tmp_path, manifest):
    with pytest.raises(ValueError, match="uint8"):
        write(tmp_path / "d", manifest, np.zeros((8, 8, 8, 3), np.float32))


def test_groups_are_an_optional_column(tmp_path, manifest):
    plain = load_dataset(write(tmp_path / "plain", manifest))
    assert plain.groups(np.arange(len(manifest))) is None
    grouped = manifest.assign(edit_group=np.repeat([7, 3, 9, 4], 2))
    dataset = load_dataset(write(tmp_path / "grouped", grouped))
    assert dataset.groups(np.array([0, 1, 2, 7])).tolist() == [7, 7, 3, 4]


@pytest.mark.parametrize(
    ("group", "word"),
    [([0, 0, 1, 1, 2, 2, 3, 2], "more than one identity"), ([0.5] * 8, "integer"), (["a"] * 8, "integer")],
)
def test_groups_that_are_no_true_edits_are_refused(manifest, group, word):
    with pytest.raises(UserError, match=word):
        check_manifest(manifest.assign(edit_group=group), 8, "here")


def test_a_group_has_one_gaze(manifest):
    manifest = manifest.assign(edit_group=np.repeat([0, 1, 2, 3], 2))
    manifest.loc[3, "gaze"] = "left"
    with pytest.raises(UserError, match="group 1 has more than one gaze"):
        check_manifest(manifest, 8, "here")
