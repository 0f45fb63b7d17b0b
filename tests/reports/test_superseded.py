"""What a later version of the protocol withdrew is never shown as a number again."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.protocol.protocol_config import Protocol
from reports.suite import ablation_tables, suite_tables
from reports.suite.claims import claim_findings
from reports.suite.frame import TABLES, read_frame, write_frame
from reports.suite.merge import merge_frames
from reports.suite.sections import sections_of
from reports.suite.suite_findings import findings
from reports.suite.superseded import SUPERSEDED, superseded_records, without_superseded
from tests.reports.fakes import make_frame
from tests.reports.test_ablations import with_variants
from tests.reports.test_tables import quiet

MS_SSIM, KID, REAL = SUPERSEDED


def scored_under(version, frame=None, dataset=None):
    """A frame whose cells an earlier version of the protocol scored, KID and all, as its files hold it."""
    frame = frame or make_frame(seeds=1)
    kid = frame.metrics.drop_duplicates("run_id").assign(metric="test/realism/kid", value=0.01)
    frame = dataclasses.replace(
        frame,
        cells=frame.cells.assign(protocol_version=version),
        metrics=pd.concat([frame.metrics, kid], ignore_index=True),
        not_measured=frame.not_measured[frame.not_measured["metric"] != "test/realism/kid"],
    )
    if dataset:
        changed = {
            name: getattr(frame, name).assign(dataset=dataset) for name in ("cells", "metrics", "pairs")
        }
        frame = dataclasses.replace(frame, **changed)
    return frame


def kept(frame, name):
    return set(frame.metrics.loc[frame.metrics["metric"].str.contains(name), "run_id"])


def test_every_withdrawn_metric_was_mended_by_a_version_that_exists():
    assert all(1 < rule.before <= Protocol().version for rule in SUPERSEDED)


def test_old_cells_lose_the_withdrawn_metrics_alone_and_say_why():
    old = scored_under(1)
    found = without_superseded(old)
    assert not kept(found, "msssim")
    assert not kept(found, "kid")
    assert found.pairs["msssim"].isna().all()
    assert kept(found, "real_accuracy") == kept(old, "real_accuracy")
    pd.testing.assert_frame_equal(
        found.pairs.drop(columns="msssim"), old.pairs.drop(columns="msssim"), check_dtype=False
    )
    recorded = found.not_measured[found.not_measured["metric"] == "test/pixels/msssim_w3"]
    assert set(recorded["run_id"]) == kept(old, "msssim")
    assert set(recorded["reason"]) == {MS_SSIM.reason}


def test_new_cells_keep_everything():
    new = scored_under(Protocol().version)
    found = without_superseded(new)
    pd.testing.assert_frame_equal(found.metrics, new.metrics)
    pd.testing.assert_frame_equal(found.pairs, new.pairs)
    pd.testing.assert_frame_equal(found.not_measured, new.not_measured.reset_index(drop=True))
    assert superseded_records(found) == []


def test_real_pairs_are_withdrawn_of_photographs_alone():
    assert not kept(without_superseded(scored_under(1, dataset="rafd-128")), "real_accuracy")
    assert kept(without_superseded(scored_under(1)), "real_accuracy")


def test_a_withdrawn_metric_shows_its_reason_in_tables_and_findings():
    found = without_superseded(scored_under(1))
    (section,) = sections_of(found, quiet)
    rows = {row.label: row for row in suite_tables.summary(found, section).rows}
    assert {entry.text for entry in rows["MS-SSIM (window 3) ↑"].entries} == {MS_SSIM.reason, "failed"}
    assert {entry.text for entry in rows["KID ↓"].entries} == {KID.reason, "failed"}
    stated = [v.text for v in findings(found, [section]) if "protocol version" in v.text]
    assert len(stated) == 1
    assert "5 of 5 finished cells were scored under protocol version 1, the present one is 2" in stated[0]
    assert "pixels/msssim, realism/kid of theirs is superseded" in stated[0]
    new = make_frame(seeds=1)
    assert not any("protocol version" in v.text for v in findings(new, sections_of(new, quiet)))


def test_ablations_neither_show_nor_judge_by_a_withdrawn_metric():
    old = without_superseded(scored_under(1, with_variants(make_frame(seeds=3, failed=False))))
    (section,) = sections_of(old, quiet)
    found = ablation_tables.ablations_of(old, section)
    table = ablation_tables.ablation_table(found)
    assert not any("MS-SSIM" in column for column in table.columns)
    assert f"MS-SSIM (window 3): {MS_SSIM.reason}" in table.notes
    stated = [v for v in claim_findings(old, [found]) if "global facial shape" in v.text]
    assert [v.tone for v in stated] == ["open"]
    assert stated[0].text.endswith(f"pixels/msssim was not measured ({MS_SSIM.reason}).")


def test_an_exported_frame_names_what_is_withdrawn_and_reads_back_without_it(tmp_path):
    old = without_superseded(scored_under(1))
    write_frame(old, tmp_path / "frame")
    head = json.loads((tmp_path / "frame" / "frame.json").read_text())
    assert [record["metric"] for record in head["superseded"]] == ["pixels/msssim", "realism/kid"]
    assert head["superseded"][0]["protocol_versions"] == [1]
    back = read_frame(tmp_path / "frame")
    assert back.pairs["msssim"].isna().all()
    assert superseded_records(back) == head["superseded"]


def test_a_frame_from_before_versions_were_recorded_is_of_the_first(tmp_path):
    folder = write_frame(make_frame(seeds=1), tmp_path / "frame")
    cells = pd.read_parquet(folder / "cells.parquet").drop(columns="protocol_version")
    cells.to_parquet(folder / "cells.parquet")
    (folder / "reconstruction.parquet").unlink()
    back = read_frame(folder)
    assert set(back.cells["protocol_version"]) == {1}
    assert back.pairs["msssim"].isna().all()
    assert not len(back.reconstruction)


def only(frame, method):
    """The frame with the cells of one method."""
    ids = set(frame.cells.loc[frame.cells["method"] == method, "run_id"])
    parts = {name: table[table["run_id"].isin(ids)] for name in TABLES for table in [getattr(frame, name)]}
    return dataclasses.replace(frame, **parts)


def test_merged_old_and_new_cells_keep_the_new_ones_values():
    old = without_superseded(scored_under(1))
    both = merge_frames([only(old, "copy-source"), only(make_frame(seeds=1), "eggan")])
    by_method = both.pairs.groupby("method")["msssim"].mean()
    assert np.isnan(by_method["copy-source"])
    assert by_method["eggan"] == pytest.approx(0.8)
