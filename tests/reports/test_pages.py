"""The pages of reports: every figure with its words and files, every table with its tools, at any width."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import reports
from benchmarks.photos import photos_run
from reports.photos import photos_report
from reports.study import importance, study_figures, study_report
from reports.style import figure_style
from reports.suite import estimates, suite_report
from studies.study_export import read_study
from tests.benchmarks.fakes import silent
from tests.benchmarks.test_photos import measured_once
from tests.demo.chromium import PROGRAM, Page
from tests.reports.test_tables import quiet
from tests.reports.whole_frame import whole_frame
from tests.studies.fakes import fake_study

NAMES = ("suite", "study", "photos")
needs_browser = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium here: install Debian's package chromium"
)
TABLE = "document.querySelector('#by-au table')"
LABELS = f"[...{TABLE}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].innerText)"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """A page of each kind; the study's figures are drawn in tests/studies/test_report.py."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 20)
        patch.setattr(estimates, "DIFFERENCE_RESAMPLES", 50)
        patch.setattr(figure_style, "DPI", 30)
        suite = suite_report.build(whole_frame(), folder / "suite", quiet).page
        photos_run.write_measured(measured_once(("p",)), folder / "20260101-000000")
        photos = photos_report.build(folder / "20260101-000000", folder / "photos").page
        fake_study(folder / "mine")
        patch.setattr(study_figures, "pictures", lambda *_: [])
        patch.setattr(importance, "importances", lambda _: [])
        study = study_report.build(read_study(folder / "mine"), folder / "study", 3, silent).page
    return dict(zip(NAMES, (suite, study, photos), strict=True))


# --- figures


class Images(HTMLParser):
    """The attributes of a page's images."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


def drawn_kinds() -> set[str]:
    """Return a pattern for the key of every figure that the code of reports can draw."""
    root = Path(reports.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    keys = re.findall(r'(?:return|=) Picture\(\s*f?"([^"]+)"', text)
    assert len(keys) == len(re.findall(r"(?<!class )\bPicture\(", text))
    return {re.sub(r"\\?\{[^}]*\}", ".+", key) for key in keys}


def test_every_figure_says_what_it_shows_and_is_there_as_png_and_pdf(built):
    keys = set()
    for name in ("suite", "photos"):
        page, images = built[name].parent, Images(built[name]).found
        own = [Path(image["src"]).stem for image in images]
        files = {path.name for path in (page / "figures").iterdir()}
        assert files == {f"{key}.{suffix}" for key in own for suffix in ("png", "pdf")}
        words = [image["alt"] for image in images]
        assert len(set(words)) == len(words)
        for key, image in zip(own, images, strict=True):
            assert len(image["alt"].split()) >= 8
            assert key not in image["alt"]
            assert (page / "figures" / f"{key}.pdf").read_bytes().startswith(b"%PDF")
            with Image.open(page / image["src"]) as picture:
                assert picture.width / picture.height == pytest.approx(
                    int(image["width"]) / int(image["height"]), rel=0.02
                )
        text = built[name].read_text(encoding="utf-8")
        assert all(f'href="figures/{file}"' in text for file in files)
        keys |= set(own)
    # What a study draws is listed, and drawn, in tests/studies/test_report.py
    of_studies = {"history", "pareto", "intermediate", "importances", "slices", "contours-.+", "ranks"}
    kinds = drawn_kinds()
    assert of_studies < kinds
    missing = {kind for kind in kinds - of_studies if not any(re.fullmatch(kind, key) for key in keys)}
    assert missing == set()


def test_commands_in_sentences_stand_as_code(built):
    text = built["suite"].read_text(encoding="utf-8")
    assert "ask <code>eggan doctor</code> for more" in text
    shown = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "`" not in shown


def test_reasons_stand_once_beneath_their_table_and_what_was_not_measured_leads_there(built):
    text = built["suite"].read_text(encoding="utf-8")
    led_to, there = (re.findall(rf'{of}([^"]+-reason-\d+)"', text) for of in ('href="#', 'li id="'))
    assert len(led_to) > len(there) == len(set(there)) > 0
    assert set(led_to) == set(there)
    (reasons,) = re.findall(r'id="summary-.+?<ol>(.+?)</ol>', text, flags=re.DOTALL)[:1]
    assert ">weights missing</li>" in reasons
    of_each = [re.findall(r"<li id=[^>]+>(.*?)</li>", part) for part in re.findall(r"<ol>(.+?)</ol>", text)]
    assert all(len(own) == len(set(own)) for own in of_each)


def test_no_arrow_stands_alone_on_a_line(built):
    heads = re.findall(r"<th scope=[^>]*>[^<]*[↑↓]", built["suite"].read_text(encoding="utf-8"))
    assert heads
    assert all(re.search("\u00a0[↑↓]$", head) for head in heads)


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Page]:
    opened = Page(tmp_path_factory.mktemp("browser") / "profile")
    yield opened
    opened.close()


@pytest.fixture
def page(browser, built):
    browser.resize(1300, 900)
    browser.open(built["photos"].as_uri())
    return browser


@needs_browser
def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order(page):
    page.click("#by-au thead th:nth-child(2) button")
    first = page.value(LABELS)
    assert first[-1] == "all, true edits of renders"  # 0.95 where all others have 0.90
    page.click("#by-au thead th:nth-child(2) button")
    assert page.value(LABELS)[0] == "all, true edits of renders"
    assert page.value(f"{TABLE}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"


@needs_browser
def test_what_was_not_measured_comes_last_whichever_way(page):
    for _ in range(2):
        page.click("#by-au thead th:last-child button")
        assert set(page.value(LABELS)[-2:]) == {"all, photographs", "all, true edits of renders"}


@needs_browser
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


# Filters, hides a column of, and sorts by every column each table of a page; returns what does not hold.
EVERY_TABLE = """(() => {
  const wrong = [], tables = [...document.querySelectorAll("table")];
  const change = (element, event) => element.dispatchEvent(new Event(event));
  for (const [place, table] of tables.entries()) {
    const tools = table.closest(".scroll")?.previousElementSibling;
    if (!tools?.classList.contains("tools")) { wrong.push([place, "no tools"]); continue; }
    const rows = () => [...table.tBodies[0].rows].filter((row) => !row.classList.contains("group"));
    const own = new Set(rows());
    const words = tools.querySelector("[type=search]"), box = tools.querySelector("[type=checkbox]");
    words.value = "no such words"; change(words, "input");
    if (!rows().every((row) => row.hidden)) wrong.push([place, "not filtered"]);
    words.value = ""; change(words, "input");
    if (rows().some((row) => row.hidden)) wrong.push([place, "still filtered"]);
    box.checked = false; change(box, "change");
    if (!rows().every((row) => row.cells[1].hidden)) wrong.push([place, "column not hidden"]);
    box.checked = true; change(box, "change");
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      for (const order of ["ascending", "descending"]) {
        head.querySelector("button").click();
        if (head.getAttribute("aria-sort") !== order) wrong.push([place, column, "not sorted"]);
        const kept = rows().filter((row) => own.has(row));
        if (kept.length !== own.size || rows().length !== own.size) wrong.push([place, "rows lost"]);
      }
    }
  }
  return [tables.length, wrong];
})()"""


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_every_table_of_every_page_is_filtered_sorted_and_narrowed(browser, built, name):
    browser.open(built[name].as_uri())
    count, wrong = browser.value(EVERY_TABLE)
    assert wrong == []
    assert count == built[name].read_text(encoding="utf-8").count("<table")
    assert browser.complaints == []


@needs_browser
def test_runs_are_sorted_by_their_seconds_and_their_digests_as_text(browser, built):
    browser.open(built["suite"].as_uri())
    table = "document.querySelector('#runs ~ .scroll table')"
    heads = browser.value(f"[...{table}.tHead.rows[0].cells].map(cell => cell.innerText)")
    for head in ("Time", "Cell"):
        browser.value(f"{table}.tHead.rows[0].cells[{heads.index(head)}].querySelector('button').click()")
        rows = f"[...{table}.tBodies[0].rows].map(row => row.cells[{heads.index(head)}]"
        found = browser.value(f"{rows}.dataset.value ?? row.cells[{heads.index(head)}].innerText)")
        assert len(set(found)) > 3
        assert found == sorted(found, key=float if head == "Time" else str)


@needs_browser
def test_the_shadow_at_an_edge_of_a_table_is_seen_on_every_row(browser, built):
    browser.open(built["suite"].as_uri())
    cells = "document.querySelectorAll('.scroll tbody tr > :not(:first-child)')"
    grounds = set(browser.value(f"[...{cells}].map(cell => getComputedStyle(cell).backgroundColor)"))
    assert len(grounds) > 1
    assert all(re.fullmatch(r"rgba\(.+, 0(\.\d+)?\)", ground) for ground in grounds)  # none is opaque


@needs_browser
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1300, 420])
def test_nothing_is_wider_than_the_page_and_the_letters_of_figures_can_be_read(browser, built, name, width):
    browser.resize(width, 900)
    browser.open(built[name].as_uri())
    browser.value("document.querySelectorAll('details').forEach(own => own.open = true)")
    assert browser.value("document.documentElement.scrollWidth") == width
    letters = browser.value(
        "[...document.images].map(own => 7.5 / 72 * own.getBoundingClientRect().width"
        " / Number(own.style.getPropertyValue('--inches')))"
    )
    assert all(7.9 <= pixels <= 16 for pixels in letters)
    labels = browser.value(
        "[...document.querySelectorAll('.scroll')].filter(own => own.scrollWidth > own.clientWidth)"
        ".map(own => own.querySelector('tbody tr:not(.group) > th').offsetWidth / own.clientWidth)"
    )
    assert all(share < 0.6 for share in labels)  # they stay where they are while what they name is scrolled
