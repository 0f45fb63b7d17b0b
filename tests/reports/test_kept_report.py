"""A report that was made of the same is kept; whatever differs, it is made again."""

import argparse
import dataclasses
import importlib.metadata
import shutil
import types
from pathlib import Path

import numpy as np
import pytest

import reports
from eggan.files import hash_files, read_json
from reports import report_commands
from reports.style import figure_style, report_record
from reports.style.html import report_files
from reports.style.report_record import RECORD, has_record, kept_summary, write_record
from reports.suite import estimates, report_inputs, suite_figures, suite_report
from reports.suite.frame import TABLES, read_frame, write_frame
from reports.suite.report_inputs import inputs_digest
from reports.suite.suite_figures import bars
from tests.reports.fakes import make_frame


@pytest.fixture(autouse=True)
def coarse_and_quick(monkeypatch):
    """Fewer resamples and dots: what is tested here is whether a report is built."""
    monkeypatch.setattr(estimates, "RESAMPLES", 50)
    monkeypatch.setattr(estimates, "DIFFERENCE_RESAMPLES", 50)
    monkeypatch.setattr(figure_style, "DPI", 20)


@pytest.fixture(scope="module")
def frame():
    return make_frame(seeds=1)


@pytest.fixture(scope="module")
def digest(frame):
    return inputs_digest(frame)


def test_a_second_build_keeps_what_is_there_and_deleted_figures_come_back(
    frame, tmp_path, capsys, monkeypatch
):
    folder, out = write_frame(frame, tmp_path / "frame"), tmp_path / "report"
    arguments = argparse.Namespace(frame=[folder], out=out, suite=None, tracking_uri=None)
    build, builds = suite_report.build, []
    monkeypatch.setattr(suite_figures, "pictures", lambda _, sections: [bars(sections[0], "mse")])

    def counted(*given):
        builds.append(given)
        return build(*given)

    monkeypatch.setattr(suite_report, "build", counted)

    def printed():
        assert report_commands.run_build(arguments) == 0
        return capsys.readouterr().out

    first, made = printed(), {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert len(builds) == 1
    second = printed()
    assert len(builds) == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == made
    assert "Table 1, means over 17 AUs" in second
    assert [line for line in second.splitlines() if line not in first.splitlines()] == [
        f"report  {(out / 'index.html').as_uri()}  (kept: made of the same runs by the same code)"
    ]
    figure = next(out.glob("figures/mse-*.pdf"))
    content = figure.read_bytes()
    figure.unlink()
    assert printed() == first
    assert len(builds) == 2
    assert figure.read_bytes() == content


@pytest.mark.parametrize("table", TABLES)
def test_any_change_of_a_table_counts(frame, table, monkeypatch):
    monkeypatch.setattr(report_inputs, "code_digest", lambda: "ours")
    digest = inputs_digest(frame)
    if not len(getattr(frame, table)):
        pytest.skip("the made-up frame has no such rows")
    for column in getattr(frame, table).columns:
        rows = getattr(frame, table).copy()
        value = rows[column].iloc[-1]
        numeric = rows[column].dtype.kind == "f" and value == value
        changed = np.nextafter(value, np.inf) if numeric else f"{value}?"
        rows[column] = [*rows[column].iloc[:-1], changed]
        assert inputs_digest(dataclasses.replace(frame, **{table: rows})) != digest, column
    fewer = getattr(frame, table).iloc[:-1]
    assert inputs_digest(dataclasses.replace(frame, **{table: fewer})) != digest


def test_a_pixel_an_instrument_and_the_code_count(frame, digest, tmp_path, monkeypatch):
    run_id, arrays = next(iter(frame.showcases.items()))
    brighter = {name: values.copy() for name, values in arrays.items()}
    brighter["source"][0, 0, 0, 0] += 1
    shown = {**frame.showcases, run_id: brighter}
    assert inputs_digest(dataclasses.replace(frame, showcases=shown)) != digest
    assert inputs_digest(dataclasses.replace(frame, instruments={"a": {"sha256": "1"}})) != digest
    monkeypatch.setattr(report_inputs, "code_digest", lambda: "other code")
    assert inputs_digest(frame) != digest


def test_the_digest_of_a_frame_outlives_an_export(frame, tmp_path):
    first = inputs_digest(read_frame(write_frame(frame, tmp_path / "frame")))
    assert inputs_digest(read_frame(tmp_path / "frame")) == first


def test_a_changed_source_and_another_library_are_other_code(tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("<p>")
    (tmp_path / "__init__.py").touch()
    package = types.SimpleNamespace(__name__="ours", __file__=str(tmp_path / "__init__.py"))
    digests = [report_record.digest_of([package])]
    (tmp_path / "page.html").write_text("<b>")
    digests.append(report_record.digest_of([package]))
    (tmp_path / "page.html").rename(tmp_path / "other.html")
    digests.append(report_record.digest_of([package]))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99")
    digests.append(report_record.digest_of([package]))
    assert len(set(digests)) == 4


@pytest.fixture
def kept(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.png").write_bytes(b"one")
    (tmp_path / "index.html").write_text('<meta name="generator" content="eggan"><img src="figures/one.png">')
    write_record(tmp_path, "inputs", "the summary")
    assert kept_summary(tmp_path, "inputs") == "the summary"
    assert report_files(tmp_path) == ["index.html", "figures/one.png", RECORD]
    return tmp_path


def test_a_record_names_every_file_of_the_report(kept):
    files = read_json(kept / RECORD)["files"]
    assert files == {name: hash_files([kept / name]) for name in ("index.html", "figures/one.png")}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "figures" / "one.png").unlink(),
        lambda folder: (folder / "figures" / "one.png").write_bytes(b"two"),
        lambda folder: (folder / "index.html").write_text("another page"),
        lambda folder: (folder / "figures" / "two.png").touch(),
        lambda folder: (folder / RECORD).unlink(),
        lambda folder: (folder / RECORD).write_text("[]"),
        lambda folder: (folder / RECORD).write_text('{"inputs": '),
        shutil.rmtree,
    ],
)
def test_a_report_that_is_not_as_it_was_left_is_not_kept(kept, change):
    assert kept_summary(kept, "others") is None
    change(kept)
    assert kept_summary(kept, "inputs") is None


def test_a_file_of_the_same_name_that_is_not_ours_is_foreign(kept):
    (kept / RECORD).write_text('{"mine": 1}')
    assert not has_record(kept)
    assert RECORD not in report_files(kept)


def test_whatever_lies_beside_the_code_of_reports_is_part_of_it():
    root = Path(reports.__file__).parent
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    beside = [path for path in files if path.relative_to(root).parts[0] != "results"]
    assert {path.suffix for path in beside} <= set(report_record.SOURCES)
