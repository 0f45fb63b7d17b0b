"""The self-reconstruction table of a report."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from reports.suite import suite_tables
from reports.suite.frame import read_frame, write_frame
from reports.suite.method_names import method_title
from reports.suite.reconstruction_table import OLDER, self_reconstruction
from reports.suite.sections import sections_of
from reports.suite.suite_report import section_tables
from tests.reports.fakes import DATASET, make_frame
from tests.reports.test_ablations import with_variants
from tests.reports.test_tables import quiet

SOURCES = 12
WITHOUT = method_title("eggan-wti")


def redrawn(frame, methods=("eggan",)):
    """Return the frame with a table of redrawn sources of these methods' runs; their AUs are read in part."""
    parts, metrics = [], []
    for _, cell in frame.cells[frame.cells["method"].isin(methods)].iterrows():
        own = np.random.default_rng(int(cell["seed"]))
        names = {name: cell[name] for name in ("run_id", "dataset", "method", "seed")}
        similarity = own.uniform(0.4, 0.9, SOURCES)
        columns = {
            "split": "test",
            "source_row": np.arange(SOURCES),
            "source_identity": [f"p{i % 4}" for i in range(SOURCES)],
            "similarity": similarity,
            "same": similarity > 0.6,
            "psnr": own.uniform(20, 30, SOURCES),
            "msssim": own.uniform(0.8, 0.9, SOURCES),
            "lpips": np.nan,
            "au_mse": np.where(np.arange(SOURCES) < 3, np.nan, own.uniform(0, 1, SOURCES)),
        }
        parts.append(pd.DataFrame(columns).assign(**names))
        values = {"metric": ["test/reconstruction/msssim_w3"], "value": [0.85], "state": ["finished"]}
        metrics.append(pd.DataFrame(values).assign(**names))
    reasons = [
        {"run_id": run, "metric": "test/reconstruction/lpips", "reason": "weights missing"}
        for run in frame.cells.loc[frame.cells["method"].isin(methods), "run_id"]
    ]
    return dataclasses.replace(
        frame,
        reconstruction=pd.concat(parts, ignore_index=True),
        metrics=pd.concat([frame.metrics, *metrics], ignore_index=True),
        not_measured=pd.concat([frame.not_measured, pd.DataFrame(reasons)], ignore_index=True),
    )


def rows_of(frame):
    (section,) = sections_of(frame, quiet)
    table = self_reconstruction(frame, section)
    return table, {row.label: dict(zip(table.columns, row.entries, strict=True)) for row in table.rows}


def test_a_method_has_its_means_over_sources_and_seeds_with_intervals():
    frame = redrawn(make_frame(seeds=3))
    table, rows = rows_of(frame)
    mine, sources = rows["EGGAN"], frame.reconstruction
    assert table.columns == (
        "Redrawn: same person (%) ↑",
        "Redrawn: similarity ↑",
        "Redrawn: PSNR (dB) ↑",
        "Redrawn: MS-SSIM (window 3) ↑",
        "Redrawn: LPIPS ↓",
        "Redrawn: AU MSE ↓",
    )
    expected = {
        "Redrawn: same person (%) ↑": 100 * sources["same"].mean(),
        "Redrawn: PSNR (dB) ↑": sources["psnr"].mean(),
        "Redrawn: AU MSE ↓": sources["au_mse"].mean(),  # over those that were read
    }
    for column, value in expected.items():
        assert mine[column].value == pytest.approx(value), column
        assert mine[column].low < value < mine[column].high
    assert mine["Redrawn: LPIPS ↓"].text == "not measured: weights missing"
    (row,) = (row for row in table.rows if row.label == "EGGAN")
    assert (row.evidence.pairs, row.evidence.seeds_text) == (SOURCES, "3")


def test_only_trained_methods_have_a_row_and_a_failed_one_says_so():
    _, rows = rows_of(redrawn(make_frame(seeds=1)))
    assert set(rows) == {"StarGAN", "EGGAN"}
    assert {entry.text for entry in rows["StarGAN"].values()} == {"failed"}


def test_cells_of_before_are_not_measured_and_methods_without_have_a_dash():
    frame = redrawn(with_variants(make_frame(seeds=1, failed=False), {"eggan-wti": (1, lambda pairs: pairs)}))
    table, rows = rows_of(frame)
    assert {entry.text for entry in rows[WITHOUT].values()} == {"not measured"}
    assert f"{WITHOUT}: {OLDER}" in table.notes
    none = pd.DataFrame(
        {"run_id": ["eggan-wti-s0"], "metric": ["test/reconstruction/psnr"], "reason": ["it offers none"]}
    )
    explained = dataclasses.replace(frame, not_measured=pd.concat([frame.not_measured, none]))
    table, rows = rows_of(explained)
    assert {entry.text for entry in rows[WITHOUT].values()} == {"–"}
    assert f"{WITHOUT}: it offers none" in table.notes


def test_a_suite_without_any_has_rows_of_not_measured_and_no_summary_rows():
    frame = make_frame(seeds=1)
    _, rows = rows_of(frame)
    assert {entry.text for entry in rows["EGGAN"].values()} == {"not measured"}
    (section,) = sections_of(frame, quiet)
    assert not any("Redrawn" in row.label for row in suite_tables.summary(frame, section).rows)
    assert "reconstruction" in section_tables(frame, section)


def test_the_summary_has_the_tracked_means():
    frame = redrawn(make_frame(seeds=2))
    (section,) = sections_of(frame, quiet)
    rows = {row.label: row for row in suite_tables.summary(frame, section).rows}
    assert "0.850" in " ".join(entry.text for entry in rows["Redrawn: MS-SSIM (window 3) ↑"].entries)


def test_the_table_survives_an_export(tmp_path):
    frame = redrawn(make_frame(seeds=2))
    back = read_frame(write_frame(frame, tmp_path / "frame"))
    assert set(back.reconstruction["dataset"]) == {DATASET}
    assert (
        rows_of(back)[1]["EGGAN"]["Redrawn: PSNR (dB) ↑"]
        == rows_of(frame)[1]["EGGAN"]["Redrawn: PSNR (dB) ↑"]
    )
