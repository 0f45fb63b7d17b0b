"""Pictures of a frame on the disk: what methods show alike is there once, and comes back with each."""

import dataclasses

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


def test_what_methods_have_alike_is_written_once(tmp_path):
    write_showcases({"a1": shown(1), "b2": shown(2, path=TRUTH)}, tmp_path / "there")
    with np.load(tmp_path / "there" / f"{SHARED}.npz") as arrays:
        assert arrays.files == ["truth"]
    with np.load(tmp_path / "there" / "b2.npz") as arrays:
        assert sorted(arrays.files) == ["edits", "path", SHARED]


def test_a_folder_without_what_is_shared_is_refused(tmp_path):
    write_showcases({"a1": shown(1), "b2": shown(2)}, tmp_path / "there")
    (tmp_path / "there" / f"{SHARED}.npz").unlink()
    with pytest.raises(UserError, match=r"shared\.npz lacks pictures of run a1"):
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
