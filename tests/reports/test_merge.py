"""A benchmark in several sittings gives the tables of one in a single sitting."""

import argparse
import dataclasses

import pandas as pd
import pytest

from eggan.cli import main
from eggan.errors import UserError
from reports import report_commands
from reports.suite.frame import TABLES, read_frame, write_frame
from reports.suite.merge import merge_frames
from tests.reports.fakes import make_frame


def part(frame, ids):
    """The frame of some runs alone."""
    tables = {name: getattr(frame, name)[getattr(frame, name)["run_id"].isin(ids)] for name in TABLES}
    shown = {run: arrays for run, arrays in frame.showcases.items() if run in ids}
    return dataclasses.replace(frame, **tables, showcases=shown)


def sittings(frame):
    ids = list(frame.cells["run_id"])
    return part(frame, ids[:4]), part(frame, ids[3:])


def ordered(table):
    return table.sort_values(list(table.columns[:7])).reset_index(drop=True)


def test_two_sittings_are_one_frame():
    whole = make_frame(failed=False)
    both = merge_frames(sittings(whole))
    for name in TABLES:
        pd.testing.assert_frame_equal(
            ordered(getattr(both, name)), ordered(getattr(whole, name)), check_dtype=False
        )
    assert set(both.showcases) == {f"{method}-s0" for method in whole.cells["method"]} & set(whole.showcases)


def test_a_finished_run_counts_before_a_later_failed_one():
    whole = make_frame(seeds=1)
    lost = whole.cells[whole.cells["method"] == "eggan"].assign(
        run_id="later", state="failed", reason="disk", started_ms=whole.cells["started_ms"].max() + 1
    )
    failed = dataclasses.replace(part(whole, []), cells=lost)
    both = merge_frames([whole, failed])
    assert list(both.cells.loc[both.cells["method"] == "eggan", "run_id"]) == ["eggan-s0"]
    assert list(both.cells.loc[both.cells["method"] == "stargan", "state"]) == ["failed"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("suite", "paper", "has no cell that"),
        ("instruments", "a bbbb", "different instruments"),
        ("dataset_digest", "other", "different data"),
        ("cell", "another key", "two different settings"),
    ],
)
def test_frames_that_share_no_table_are_refused(column, value, message):
    frame = make_frame(seeds=1)
    other = part(frame, ["eggan-s0"])
    renamed = other.cells.assign(**{column: value, "run_id": "other"})
    with pytest.raises(UserError, match=message):
        merge_frames([frame, dataclasses.replace(other, cells=renamed)])


def test_command_merges_and_counts(tmp_path, capsys):
    folders = [write_frame(f, tmp_path / str(i)) for i, f in enumerate(sittings(make_frame()))]
    arguments = argparse.Namespace(folder=tmp_path / "both", frames=folders)
    assert report_commands.run_merge(arguments) == 0
    assert "eggan 3" in capsys.readouterr().out
    assert len(read_frame(tmp_path / "both").cells) == len(make_frame().cells)


@pytest.mark.slow
def test_a_report_of_two_frames_is_that_of_the_merged_one(tmp_path, capsys):
    first, second = (write_frame(f, tmp_path / str(i)) for i, f in enumerate(sittings(make_frame())))
    both = ["report", "build", "--frame", str(first), "--frame", str(second), "--out", str(tmp_path / "page")]
    assert main(both) == 0
    assert main(["report", "merge", str(tmp_path / "all"), str(first), str(second)]) == 0
    capsys.readouterr()
    assert main(["report", "build", "--frame", str(tmp_path / "all"), "--out", str(tmp_path / "page")]) == 0
    assert "kept: made of the same runs" in capsys.readouterr().out


def with_data(frame, run_id: str, digest: str):
    """Return a frame of one run alone, which stands on these data."""
    alone = part(frame, [run_id])
    return dataclasses.replace(alone, cells=alone.cells.assign(dataset_digest=digest))


def test_rows_that_learn_from_the_crowd_stand_beside_those_that_do_not():
    frame = make_frame(seeds=1)
    reference = with_data(frame, "oracle-s0", "synfacs-twin-64 t")
    ours = with_data(frame, "eggan-s0", "synfacs-crowd-64 c; synfacs-twin-64 t")
    assert len(merge_frames([reference, ours]).cells) == 2
    fewer = with_data(frame, "copy-source-s0", "synfacs-crowd-2-people-64 f; synfacs-twin-64 t")
    assert len(merge_frames([reference, ours, fewer]).cells) == 3
    other = with_data(frame, "copy-source-s0", "synfacs-crowd-64 d; synfacs-twin-64 t")
    with pytest.raises(UserError, match="different data"):
        merge_frames([ours, other])
