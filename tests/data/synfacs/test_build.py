"""Builds and true edits: the same bytes for any number of workers, and the source back for equal AUs."""

from pathlib import Path

import numpy as np
import pytest

from eggan.data.dataset import Dataset, load_dataset
from eggan.data.synfacs import build, render_edit, render_edits
from eggan.data.synfacs.build import default_folder
from eggan.data.synfacs.plan import make_request
from eggan.errors import UserError
from tests.data.synfacs.conftest import DENSE


def test_the_folder_is_a_dataset_that_records_how_it_was_made(dense: Dataset) -> None:
    assert dense.images.shape == (8, 64, 64, 3)
    assert dense.info["seed"] == DENSE["seed"]
    assert dense.info["parameters"]["split"] == "dense"
    assert dense.info["parameters"]["renderer_version"]
    assert dense.images.std() > 20


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(dense: Dataset, tmp_path: Path) -> None:
    again = load_dataset(build(**DENSE, workers=2, out=tmp_path / "two", progress=False))
    assert again.content_hash == dense.content_hash


def test_equal_aus_give_the_source_back_byte_for_byte(dense: Dataset) -> None:
    rows = np.array([6, 1])
    assert (render_edits(dense, rows, dense.aus(rows)) == dense.images[rows]).all()
    assert (render_edit(dense, 3, dense.aus(np.array([3]))[0]) == dense.images[3]).all()


def test_an_edit_changes_the_face_and_keeps_person_and_background(dense: Dataset) -> None:
    edited = render_edit(dense, 0, np.zeros(17)).astype(float)
    source = dense.images[0].astype(float)
    assert np.abs(edited - source).mean() > 0.3
    assert np.abs(edited - source).mean() < 0.5 * np.abs(dense.images[7] - edited).mean()


def test_an_equal_dataset_is_kept(dense: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    before = (dense.folder / "images.npy").stat().st_mtime_ns
    build(**DENSE, workers=1, out=dense.folder, progress=False)
    assert "already built" in capsys.readouterr().out
    assert (dense.folder / "images.npy").stat().st_mtime_ns == before


def test_a_folder_with_other_parameters_is_never_overwritten(dense: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="other parameters"):
        build(**{**DENSE, "seed": 6}, workers=1, out=dense.folder, progress=False)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="no dataset"):
        build(**DENSE, workers=1, out=tmp_path / "mine", progress=False)


def test_rows_and_workers_out_of_range_are_user_errors(dense: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows"):
        render_edit(dense, 8, np.zeros(17))
    with pytest.raises(UserError, match="AU1 "):
        render_edit(dense, 0, np.full(17, 9.0))
    with pytest.raises(UserError, match="workers"):
        build(**DENSE, workers=0, out=tmp_path / "none", progress=False)


def test_foreign_datasets_have_no_true_edits(dataset: Dataset) -> None:
    with pytest.raises(UserError, match="build it again"):
        render_edit(dataset, 0, np.zeros(17))


def test_default_folders_differ_when_parameters_do() -> None:
    requests = [
        make_request("twin"),
        make_request("twin", size=64),
        make_request("twin", seed=1),
        make_request("twin", identities=5),
        make_request("dense"),
        make_request("dense", images_per_identity=3),
        make_request("dense", population="instruments-train"),
    ]
    names = [default_folder(request) for request in requests]
    assert len(set(names)) == len(names)
    assert names[0] == Path("data/synfacs-twin-128px-s0")
