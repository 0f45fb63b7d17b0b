"""The demo's page in headless Chromium: real files, real keys, real sliders moved by a mouse."""

import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from eggan.aus import AU_NAMES, AU_NUMBERS
from tests.demo.chromium import PROGRAM, Page
from tests.demo.conftest import BYTES, Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: install Debian's package chromium"),
]
TEXT = "document.getElementById('{}').textContent"
LATENCIES = "performance.getEntriesByName('edit').map((entry) => entry.duration)"
SETTLED = "!document.getElementById('after').hasAttribute('aria-busy')"
TRACK, THUMB, RIGHT, SPACE, END = 0.9, 16, 39, 32, 35


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture
def page(browser: Page, served: Served) -> Iterator[Page]:
    """The page with the example open; it must not have complained when the test is over."""
    browser.resize(1300, 900)
    browser.open(served.address)
    browser.click(".example")
    browser.until("!document.getElementById('bar').hidden")
    yield browser
    assert browser.complaints == []


def text(page: Page, name: str) -> str:
    return page.value(TEXT.format(name))


def edits_of(page: Page, count: int) -> list[float]:
    """Return the milliseconds of all edits so far once there are `count` and none is under way."""
    page.until(f"{LATENCIES}.length >= {count}")
    page.until(SETTLED)
    return page.value(LATENCIES)


def canvas(page: Page, *box: int) -> np.ndarray:
    """Return what the canvas shows in a box (left, top, right, bottom) of the view: uint8 (h, w, 3)."""
    left, top, right, bottom = box
    values = page.value(  # read from a copy: a canvas that is read from is drawn differently
        "(() => { const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        f"[copy.canvas.width, copy.canvas.height] = [{right - left}, {bottom - top}];"
        f"copy.drawImage(document.getElementById('after'), {-left}, {-top});"
        "return Array.from(copy.getImageData(0, 0, copy.canvas.width, copy.canvas.height).data); })()"
    )
    return np.array(values, np.uint8).reshape(bottom - top, right - left, 4)[..., :3]


def drag(page: Page, selector: str, start: float, end: float, steps: int) -> None:
    """Take a slider's thumb at one share of its way to another."""
    x, y = page.centre(selector)
    width = page.value(f"document.querySelector('{selector}').offsetWidth") - THUMB
    places = x + (np.linspace(start, end, steps + 1) - 0.5) * width
    page.mouse("mousePressed", places[0], y)
    for place in places[1:]:
        page.mouse("mouseMoved", place, y)
    page.mouse("mouseReleased", places[-1], y)


def slowness(chunks: int = 5, seconds: float = 0.01) -> float:
    """Return how many times longer than alone pieces of work on two cores take beside what else runs here:
    the 95th percentile, as of what it is compared with.
    """

    def piece() -> float:
        wall, own = time.perf_counter(), time.thread_time()
        while time.thread_time() - own < seconds:
            np.linalg.svd(np.ones((60, 60)))
        return (time.perf_counter() - wall) / (time.thread_time() - own)

    def work() -> list[float]:
        return [piece() for _ in range(chunks)]

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for _ in range(2)]
        return float(np.percentile([factor for future in futures for factor in future.result()], 95))


def latency(page: Page, numbers: Sequence[int]) -> float:
    """Move sliders up and down with the mouse; return p95 over all edits drawn, from the move to the picture,
    in milliseconds of a machine that does nothing else.

    Other tests come and go beside them, so how slow the machine is is measured before and after each slider.
    """
    before, factor = len(page.value(LATENCIES)), slowness()
    for number in numbers:
        for way in ((0.1, TRACK), (TRACK, 0.05)):
            drag(page, f"#au{number}", *way, steps=6)
            page.until(SETTLED)
        factor = max(factor, slowness())
    latencies = edits_of(page, before + 2 * len(numbers))[before:]
    p95 = float(np.percentile(latencies, 95))
    print(f"{len(latencies)} edits, p95 {p95:.0f} ms, the machine is {factor:.1f} times as slow as when free")
    return p95 / factor


def check_latency(page: Page, numbers: Sequence[int]) -> None:
    """The best of three rounds: other work that comes between two measurements spoils a round."""
    assert any(latency(page, numbers) <= 100 for _ in range(3))


def test_sliders_move_the_face_within_a_tenth_of_a_second(page, opened):
    region = opened["faces"][0]["region"]
    before = canvas(page, *region)
    check_latency(page, AU_NUMBERS)
    assert not np.array_equal(before, canvas(page, *region))


def test_sliders_move_a_face_that_fills_a_large_photograph_as_fast(page, portrait, tmp_path):
    portrait.crop((80, 0, 370, 290)).resize((1024, 1024)).save(tmp_path / "close.jpg")
    page.choose_file("#file", tmp_path / "close.jpg")
    page.until(f"{TEXT.format('status')}.startsWith('Opened close.jpg')")
    check_latency(page, AU_NUMBERS[::3])


def test_what_is_drawn_last_is_what_was_asked_last(page, served, opened):
    """Sixty changes at once are a few questions, the last of which is answered."""
    page.value(
        "(() => { const slider = document.getElementById('au12'); for (let at = 0; at <= 60; at++) {"
        "slider.value = at / 15; slider.dispatchEvent(new Event('input')); } })()"
    )
    assert len(edits_of(page, 1)) < 10
    assert page.value("document.querySelector('#au12 + output').textContent") == "4"
    shown = [au or 0 for au in opened["faces"][0]["aus"]]
    shown[AU_NUMBERS.index(12)] = 4
    path = f"/photographs/{opened['id']}/edits"
    answer = served.question(path, face=0, number=1, targets={"0": shown})
    wanted = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    drawn = canvas(page, *opened["faces"][0]["region"])
    assert np.abs(wanted - drawn).max() <= 2


def test_keys_reach_everything(page, opened):
    page.value("document.getElementById('au26').focus()")
    page.press("End", END)
    assert page.value("document.querySelector('#au26 + output').textContent") == "5"
    page.value("document.querySelector('.expression:nth-child(8)').focus()")
    page.press(" ", SPACE)
    pressed = "document.querySelector('.expression[aria-pressed=true]')?.textContent"
    assert page.value(pressed) == "surprised"
    page.value("document.getElementById('strength').focus()")
    page.value("document.getElementById('strength').value = 49")
    page.press("ArrowRight", RIGHT)
    assert page.value("document.querySelector('#strength + output').textContent") == "50 %"
    edits_of(page, 1)
    page.value("document.getElementById('split').focus()")
    page.press("End", END)
    assert page.value("document.getElementById('split').getAttribute('aria-valuetext')") == "100 % before"
    assert (
        page.value("getComputedStyle(document.getElementById('cut')).clipPath") == "inset(0px 0px 0px 100%)"
    )
    region = opened["faces"][0]["region"]
    edited = canvas(page, *region)
    page.value("document.getElementById('reset').focus()")
    page.press(" ", SPACE)
    edits_of(page, 2)
    assert page.value(pressed) is None
    assert np.abs(edited.astype(int) - canvas(page, *region)).max() > 20


def test_a_screen_reader_is_told_what_there_is(page, example):
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if "name" in node and not node["ignored"]
    ]
    for number in AU_NUMBERS:
        assert ("slider", f"AU{number} {AU_NAMES[number].capitalize()}") in named
    assert ("slider", "Strength") in named
    assert ("group", "Mouth") in named
    assert not [role for role, name in named if role in ("button", "slider", "image", "Canvas") and not name]
    assert text(page, "status") == f"Opened {example.name}."


def test_files_are_opened_copied_and_downloaded(page, portrait, tmp_path):
    part = np.asarray(portrait)[:330, 80:370]
    double = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(np.hstack([part, part[:, ::-1]])).save(double)
    page.choose_file("#file", double)
    page.until("document.querySelectorAll('#faces button').length === 2")
    assert "2 faces were found" in text(page, "status")
    assert double.name in text(page, "status")
    assert page.value("document.querySelectorAll('[onerror]').length") == 0
    page.click("#faces button:nth-child(2)")
    assert page.value("document.querySelector('#faces [aria-pressed=true]').ariaLabel") == "Face 2 of 2"
    smiling = tmp_path / "smiling.jpg"
    portrait.save(smiling)
    page.choose_file("#other", smiling)
    page.until(f"{TEXT.format('status')}.startsWith('Copied the expression of smiling.jpg')")
    page.click(".expression:nth-child(6)")
    edits_of(page, 1)
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    page.click("#download")
    page.wait(lambda: list((tmp_path / "downloads").glob("*.png")) != [], "the download")
    (found,) = (tmp_path / "downloads").iterdir()
    saved, source = np.asarray(Image.open(found)), np.asarray(Image.open(double))
    assert saved.shape == source.shape
    changed = (saved != source).any(axis=2)
    half = part.shape[1]
    place = page.value("document.querySelector('#faces [aria-pressed=true]').style.left")
    sides = [changed[:, :half], changed[:, half:]]
    own, other = sides if float(place.rstrip("%")) < 50 else sides[::-1]
    assert own.any()
    assert other.mean() < 0.02 * own.mean()  # the square around a face may reach over the middle


def test_a_file_that_is_refused_is_an_alert_and_the_photograph_stays(page, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    page.choose_file("#file", tmp_path / "broken.jpg")
    page.until(f"{TEXT.format('problem')} !== ''")
    page.complaints.clear()  # the browser logs the 400
    assert "broken.jpg" in text(page, "problem")
    assert text(page, "status") == ""
    drag(page, "#au12", 0.1, TRACK, 2)
    edits_of(page, 1)


def test_a_small_face_is_zoomed_to_and_back(page):
    zoom = "document.getElementById('frame').style.getPropertyValue('--zoom')"
    assert float(page.value(zoom)) > 1.5
    page.click("#zoom")
    assert float(page.value(zoom)) == 1
    page.click("#zoom")
    assert float(page.value(zoom)) > 1.5


@pytest.mark.parametrize("width", [1300, 420, 320])
def test_nothing_lies_beyond_the_window(page, width):
    page.resize(width, 900)
    assert page.value("document.documentElement.scrollWidth <= innerWidth")
    assert page.value(
        "[...document.querySelectorAll('button, .row input, .row output')].filter((e) => e.offsetParent)"
        ".map((e) => e.getBoundingClientRect()).every(({left, right}) => left >= 0 && right <= innerWidth)"
    )


def test_a_photograph_that_is_gone_is_said(page, served):
    for _ in range(9):
        assert served.ask("POST", "/examples/0/open", content_type=BYTES).status == 201
    drag(page, "#au12", 0.1, TRACK, 1)
    page.until(f"{TEXT.format('problem')}.includes('open it again')")
    page.complaints.clear()  # the browser logs the 404
