import argparse
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from eggan.aus import AU_COLUMNS
from eggan.errors import UserError
from reports import report_commands
from reports.style import figure_style
from reports.style import html as html_module
from reports.suite import estimates, suite_figures
from reports.suite.frame import READING_STEP, read_frame, write_frame
from reports.suite.suite_findings import findings
from reports.suite.suite_page import facts, render_page, settings
from reports.suite.suite_report import build
from tests.reports.fakes import make_frame
from tests.reports.test_tables import quiet


@pytest.fixture(autouse=True, scope="module")
def coarse_and_quick():
    """Fewer resamples and dots: what is tested here is the build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 100)
        patch.setattr(estimates, "DIFFERENCE_RESAMPLES", 100)
        patch.setattr(figure_style, "DPI", 50)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    before = dict(mpl.rcParams)
    report = build(make_frame(), tmp_path_factory.mktemp("r") / "report", quiet)
    assert dict(mpl.rcParams) == before
    return report


def test_page_holds_tables_figures_and_run_ids_and_asks_for_nothing_outside(built):
    html = built.page.read_text()
    assert "eggan-s2" in html
    assert "0123456789ab" in html
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    own = (Path(html_module.__file__).parent / "tables.js").read_text()
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    assert script.strip() == own.strip()
    assert not re.findall(r"https?://|fetch|import|XMLHttp", own)
    linked = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert len(linked) > 20
    assert all((built.page.parent / name).is_file() for name in linked)


def test_measured_entries_carry_their_value_for_the_sorting_of_tables(built):
    html = built.page.read_text()
    assert len(re.findall(r'<td[^>]* data-value="-?[\d.e-]+"', html)) > 50
    assert not re.findall(r'data-value="(?:nan|inf)', html)


def test_each_cell_says_how_it_was_made_and_what_makes_it_again(built):
    frame = make_frame()
    html = built.page.read_text()
    for cell in frame.cells.to_dict("records"):
        command = f"eggan bench run {cell['suite']} --only {cell['method']} --seed {cell['seed']}"
        assert f"git checkout {cell['commit']}\n{command}<" in html
    assert html.count('<details class="cell">') == len(frame.cells)


def test_settings_that_differ_between_seeds_are_both_shown():
    frame = make_frame(failed=False)
    changed = frame.settings.copy()
    changed.loc[0, "value"] = "128"
    listed = settings(dataclasses.replace(frame, settings=changed))
    assert listed.methods == ("eggan",)
    assert dict(listed.rows)["config.latent_dim"] == ("128 / 256",)
    assert dict(listed.rows)["training.images"] == ("32000",)


def test_every_head_of_a_table_says_what_it_is_the_head_of(built):
    heads = re.findall(r"<th\b[^>]*>", built.page.read_text())
    assert {re.search(r'scope="(\w+)"', head)[1] for head in heads} == {"col", "row", "rowgroup"}


def test_data_that_several_methods_learn_from_are_listed_once():
    frame = make_frame()
    digests = ["twin a; wide b", "crowd c; twin a; wide b", ""]
    cells = frame.cells.assign(dataset_digest=[digests[i % 3] for i in range(len(frame.cells))])
    assert dict(facts(dataclasses.replace(frame, cells=cells)))["Data"] == "crowd c; twin a; wide b"
    none = frame.cells.assign(dataset_digest="")
    assert dict(facts(dataclasses.replace(frame, cells=none)))["Data"] == "not recorded"


def test_page_is_well_formed(built):
    class Balance(HTMLParser):
        stack: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "br"):
                self.stack.append(tag)

        def handle_endtag(self, tag):
            assert self.stack.pop() == tag

    checker = Balance()
    checker.feed(built.page.read_text())
    assert checker.stack == []


def test_markup_in_a_reason_is_escaped():
    frame = make_frame(seeds=1)
    frame.cells.loc[frame.cells["method"] == "stargan", "reason"] = "<img src=x>"
    html = render_page(frame, [], [], [], findings(frame, []))
    assert "<img src=x>" not in html
    assert "&lt;img src=x&gt;" in html


@pytest.mark.slow
def test_rebuild_gives_the_same_bytes(built, tmp_path):
    again = build(make_frame(), tmp_path / "report", quiet).page.parent
    first = built.page.parent
    names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_a_folder_that_is_no_report_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="is not a report"):
        build(make_frame(seeds=1), tmp_path, quiet)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_suite_without_a_finished_cell_still_has_a_page(tmp_path):
    frame = make_frame(seeds=1)
    frame.cells["state"] = "failed"
    empty = {
        name: getattr(frame, name).iloc[:0]
        for name in ("pairs", "metrics", "response", "curves", "not_measured", "notes")
    }
    bare = dataclasses.replace(frame, showcases={}, **empty)
    report = build(bare, tmp_path / "report", quiet)
    assert "No cell of this suite has finished" in report.page.read_text()
    assert report.overview == []


def test_frame_round_trip(tmp_path):
    frame = make_frame(seeds=1)
    again = read_frame(write_frame(frame, tmp_path / "frame"))
    read = [f"{reading}_{column}" for reading in ("a", "b", "source_a") for column in AU_COLUMNS]
    others = [name for name in frame.pairs if name not in read]
    pd.testing.assert_frame_equal(again.pairs[others], frame.pairs[others], check_exact=True)
    assert (again.pairs[read] - frame.pairs[read]).abs().max().max() <= READING_STEP / 2
    twice = read_frame(write_frame(again, tmp_path / "twice"))
    pd.testing.assert_frame_equal(twice.pairs, again.pairs, check_exact=True)
    pd.testing.assert_frame_equal(again.cells, frame.cells)
    assert set(again.showcases) == set(frame.showcases)
    with pytest.raises(UserError, match="not an exported frame"):
        read_frame(tmp_path)


def test_command_prints_both_tables_the_page_and_the_ui_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite_figures, "pictures", lambda *_: [])
    folder = write_frame(make_frame(seeds=1), tmp_path / "frame")
    arguments = argparse.Namespace(frame=[folder], out=tmp_path / "report", suite=None, tracking_uri=None)
    assert report_commands.run_build(arguments) == 0
    printed = capsys.readouterr().out
    assert "Table 1, means over 17 AUs" in printed
    assert "Table 2: same person" in printed
    assert (tmp_path / "report" / "index.html").as_uri() in printed
    assert "eggan ui" in printed


def test_missing_store_says_what_to_run(tmp_path):
    uri = f"sqlite:///{tmp_path / 'none.db'}"
    runs = tmp_path / "runs"
    arguments = argparse.Namespace(frame=None, out=tmp_path / "r", suite="quick", runs=runs, tracking_uri=uri)
    with pytest.raises(UserError, match="run `eggan bench run quick` first"):
        report_commands.run_build(arguments)
    assert not (tmp_path / "none.db").exists()
