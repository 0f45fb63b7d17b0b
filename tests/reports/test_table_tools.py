"""The tables of a page in a browser: sorted by a column, filtered by words, columns hidden."""

import pytest

from benchmarks.photos import photos_run
from reports.photos import photos_report
from tests.benchmarks.test_photos import measured_once
from tests.demo.chromium import PROGRAM, Page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: install Debian's package chromium")
TABLE = "document.querySelector('#by-au table')"
LABELS = f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].innerText)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    photos_run.write_measured(measured_once(("p",)), folder / "20260101-000000")
    report = photos_report.build(folder / "20260101-000000", folder / "report")
    opened = Page(folder / "profile")
    opened.open(report.page.as_uri())
    yield opened
    opened.close()


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order(page):
    page.click("#by-au thead th:nth-child(2) button")
    first = page.value(LABELS)
    assert first[-1] == "all, true edits of renders"  # 0.95 where all others have 0.90
    page.click("#by-au thead th:nth-child(2) button")
    assert page.value(LABELS)[0] == "all, true edits of renders"
    assert page.value(f"{TABLE}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"


def test_what_was_not_measured_comes_last_whichever_way(page):
    for _ in range(2):
        page.click("#by-au thead th:last-child button")
        assert set(page.value(LABELS)[-2:]) == {"all, photographs", "all, true edits of renders"}


def test_words_filter_rows_and_a_box_hides_a_column(page):
    box = "document.querySelector('#by-au input[type=search]')"
    page.value(f"{box}.value = 'AU1'; {box}.dispatchEvent(new Event('input'))")
    assert set(page.value(LABELS)) == {"AU1", "AU10", "AU12", "AU14", "AU15", "AU17"}
    page.value(f"{box}.value = ''; {box}.dispatchEvent(new Event('input'))")
    assert len(page.value(LABELS)) == 19
    page.value("document.querySelector('#by-au .columns').open = true")
    page.click("#by-au .columns label:nth-of-type(1) input")
    shown = f"{TABLE}.tBodies[0].rows[0].cells[1].checkVisibility()"
    assert page.value(shown) is False
    page.click("#by-au .columns label:nth-of-type(1) input")
    assert page.value(shown) is True
    assert page.complaints == []
