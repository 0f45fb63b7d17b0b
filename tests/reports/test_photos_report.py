"""The page of `eggan bench photos`: its tables, its targets, its faces; names of files are escaped."""

import pytest

from benchmarks.photos import photos_run
from reports.photos import photos_report, photos_tables
from tests.benchmarks.test_photos import measured_once

HOSTILE = "<script>alert(1)</script>.png"


@pytest.fixture
def folder(tmp_path):
    photos_run.write_measured(measured_once(("p", HOSTILE)), tmp_path / "20260101-000000")
    return tmp_path / "20260101-000000"


def test_the_page_names_targets_and_links_its_files(folder, tmp_path):
    report = photos_report.build(folder, tmp_path / "report")
    page = report.page.read_text(encoding="utf-8")
    assert [finding.tone for finding in report.findings] == ["good", "good", "good"]
    assert "Reached: every face is still found: 102 of 102 edits." in page
    assert "x.jpg" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    written = {
        path.relative_to(tmp_path / "report").as_posix() for path in (tmp_path / "report").rglob("*.*")
    }
    tables = ("by-au", "by-portrait", "real-pairs", "not-measured")
    assert written == {
        "index.html",
        "figures/faces.png",
        "figures/faces.pdf",
        *(f"tables/{name}.{suffix}" for name in tables for suffix in ("md", "csv")),
    }
    assert all(f'href="{name}"' in page for name in written - {"index.html"})


def test_tables_have_the_figures_of_the_probes(folder):
    measured = photos_run.read_measured(folder)
    table = photos_tables.by_au(measured)
    assert table.header[:2] == ("AU", "slope")
    assert [row[1] for row in table.rows] == ["0.90"] * 18 + ["0.95"]
    assert [row[-1] for row in table.rows] == ["0.95"] * 17 + ["–", "–"]
    assert photos_tables.real_pairs(measured).rows[0][:3] == ("two pictures of one person", "1", "0.400")
    measured.probes["distance"] = float("nan")
    assert photos_tables.by_au(measured).rows[0][-3] == "–"


def test_the_last_complete_measurement_is_reported(folder, eggan, tmp_path):
    photos = tmp_path / "runs" / "photos"
    for name in ("20260101-000000", "20260102-000000"):
        photos_run.write_measured(measured_once(), photos / name)
    (photos / "20260103-000000").mkdir()
    assert photos_report.latest(photos).name == "20260102-000000"
    status, out, err = eggan("report", "photos", "--runs", tmp_path / "runs")
    assert (status, err) == (0, "")
    assert "+ Reached: every face is still found" in out
    assert (photos / "20260102-000000" / "report" / "index.html").is_file()


def test_no_measurement_is_one_line(eggan, tmp_path):
    status, _, err = eggan("report", "photos", "--runs", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"run `eggan bench photos --runs {tmp_path}` first" in err
