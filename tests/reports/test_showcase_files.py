"""Pictures of a frame on the disk: what methods show alike is there once, and comes back with each."""

import dataclasses
import zipfile

import numpy as np
import pytest

from eggan.errors import UserError
from reports.suite.frame import read_frame, write_frame
from reports.suite.merge import merge_frames
from reports.suite.showcase_files import SHARED, read_showcases, write_showcases
from tests.reports.fakes import make_frame

TRUTH = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


def shown(value: int, **more) -> dict:
    return {"edits": np.full((2, 2, 2, 3), value, np.uint8), "truth": TRUTH, **more}


def assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for run_id, arrays in expected.items():
        assert found[run_id].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[run_id][name], array)
            assert found[run_id][name].dtype == array.dtype


@pytest.mark.parametrize(
    "showcases",
    [
        {},
        {"a1": shown(1)},
        {"a1": shown(1), "b2": shown(2)},
        {"a1": shown(1), "b2": shown(2, path=TRUTH), "c3": shown(3, path=TRUTH)},
        {"a1": shown(1), "b2": {"edits": TRUTH, "truth": TRUTH.astype(float)}},
        {"a1": shown(1, names=np.array(["sad"])), "b2": shown(2, names=np.array(["sad"]))},
    ],
)
def test_what_is_written_comes_back(tmp_path, showcases):
    write_showcases(showcases, tmp_path / "there")
    assert_same(read_showcases(tmp_path / "there"), showcases)


def test_pictures_of_any_number_and_size_come_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"one": (5, 7, 3), "none": (0, 4, 4, 3), "grid": (2, 3, 8, 6, 3), "many": (17_000, 1, 2, 3)}
    arrays = {name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
    arrays["transposed"] = arrays["grid"].swapaxes(0, 1)
    arrays["grey"] = rng.integers(0, 256, (4, 8, 8), np.uint8)
    write_showcases({"a1": arrays}, tmp_path / "there")
    assert_same(read_showcases(tmp_path / "there"), {"a1": arrays})


def test_frames_of_earlier_versions_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a1.npz", **shown(1))
    assert_same(read_showcases(tmp_path), {"a1": shown(1)})


@pytest.mark.parametrize(
    "part", ["edits.2.webp", "edits.7.webp", "edits.webp", "edits.-2.webp", "edits.npy", "edits"]
)
def test_a_damaged_file_is_one_line(tmp_path, part):
    with zipfile.ZipFile(tmp_path / "a1.zip", "w") as archive:
        archive.writestr(part, b"RIFF")
    with pytest.raises(UserError, match=r"a1\.zip of a run cannot be read"):
        read_showcases(tmp_path)


def test_what_methods_have_alike_is_written_once(tmp_path):
    write_showcases({"a1": shown(1), "b2": shown(2, path=TRUTH)}, tmp_path / "there")
    with zipfile.ZipFile(tmp_path / "there" / f"{SHARED}.zip") as parts:
        assert parts.namelist() == ["truth.2.webp"]
    with zipfile.ZipFile(tmp_path / "there" / "b2.zip") as parts:
        assert sorted(parts.namelist()) == ["edits.2.webp", "path.2.webp", f"{SHARED}.npy"]


def test_a_folder_without_what_is_shared_is_refused(tmp_path):
    write_showcases({"a1": shown(1), "b2": shown(2)}, tmp_path / "there")
    (tmp_path / "there" / f"{SHARED}.zip").unlink()
    with pytest.raises(UserError, match=r"shared\.zip lacks pictures of run a1"):
        read_showcases(tmp_path / "there")


def test_a_frame_of_the_version_before_reads_the_same(tmp_path):
    frame = make_frame(seeds=1)
    folder = write_frame(frame, tmp_path / "frame")
    for path in (folder / "showcases").iterdir():
        path.unlink()
    for run_id, arrays in frame.showcases.items():
        np.savez_compressed(folder / "showcases" / f"{run_id}.npz", **arrays)
    head = folder / "frame.json"
    head.write_text(head.read_text().replace('"format_version": 3', '"format_version": 2'))
    assert '"format_version": 2' in head.read_text()
    assert_same(read_frame(folder).showcases, frame.showcases)


def test_of_several_sittings_the_lowest_seed_of_a_method_is_shown():
    frame = make_frame(seeds=2, failed=False)
    both = frame.cells[frame.cells["method"] == "eggan"]["run_id"].tolist()
    apart = [dataclasses.replace(frame, showcases={run_id: shown(1)}) for run_id in reversed(both)]
    assert set(merge_frames(apart).showcases) == {both[0]}
