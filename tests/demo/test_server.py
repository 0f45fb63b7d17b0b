"""The demo's server: what it answers, to whom, and what it refuses."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from eggan.aus import AU_NAMES, AU_NUMBERS, EXPRESSIONS, expression_aus
from eggan.demo import server
from eggan.demo.guard import HEADERS
from eggan.demo.photographs import FACE_SIDE, KEPT, OpenPhotographs
from eggan.demo.server import DemoServer
from eggan.demo.serving import listening
from tests.demo.conftest import BYTES, Served, serve
from tests.demo.hostile import coded, files

PAGE = Path(server.__file__).parent / "page"


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def view(served, opened):
    return pixels(served.get(f"/photographs/{opened['id']}/view").content)


def edits(served, opened, number, face=0, **targets):
    named = {key.removeprefix("face"): aus for key, aus in targets.items()}
    path = f"/photographs/{opened['id']}/edits"
    return served.question(path, face=face, number=number, targets=named)


# --- the page


def test_the_page_names_every_action_unit_and_expression(served):
    text = served.get("/").content.decode()
    for number in AU_NUMBERS:
        assert f'id="au{number}"' in text
        assert AU_NAMES[number].capitalize() in text
    assert len(re.findall(r'class="au"', text)) == len(AU_NUMBERS)
    assert re.findall(r'class="expression"[^>]*>(\w+)<', text) == list(EXPRESSIONS)
    aus = [json.loads(found) for found in re.findall(r'data-aus="([^"]*)"', text)]
    assert [len(vector) for vector in aus] == [len(AU_NUMBERS)] * len(EXPRESSIONS)
    posed = dict(zip(EXPRESSIONS, aus, strict=True))
    assert posed["neutral"] == [0] * len(AU_NUMBERS)
    assert all(any(vector) for name, vector in posed.items() if name != "neutral")
    of = {number: position for position, number in enumerate(AU_NUMBERS)}
    assert posed["happy"][of[12]] == expression_aus("happy")[of[12]] > 4
    assert posed["sad"][of[12]] == 0  # a smile is no sad face
    assert posed["sad"][of[45]] is None  # eyes stay as they are


def test_every_control_has_a_name(served):
    text = served.get("/").content.decode()
    for found in re.findall(r"<input [^>]*>", text):
        if " hidden" not in found:
            (name,) = re.findall(r' id="(\w+)"', found)
            assert "aria-label=" in found or f'for="{name}"' in text
    assert 'aria-live="polite"' in text
    assert 'role="alert"' in text


@pytest.mark.parametrize("name", ["page.html", "page.css", "page.js", "icon.svg"])
def test_the_page_asks_no_other_host_and_keeps_its_policy(name):
    """Scripts, styles and handlers inside of the page would be blocked by the policy, which allows none."""
    text = (PAGE / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//\w+\.\w|@import|\beval\(|innerHTML|<style|\sstyle=|\son\w+=", text)
    assert re.findall(r"<script[^>]*>([^<]*)", text) in ([], [""])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/page/page.js", 200),
        ("GET", "/page/../server.py", 404),
        ("GET", "/page/%2e%2e/server.py", 404),
        ("GET", "/page/none.js", 404),
        ("GET", "/examples/0", 200),
        ("GET", "/examples/7", 404),
        ("GET", "/photographs/none/view", 404),
        ("GET", "/photographs", 405),
        ("DELETE", "/photographs/none", 415),
        ("GET", "/nothing", 404),
    ],
)
def test_every_answer_hardens_the_browser(served, method, path, status):
    answer = served.ask(method, path)
    assert answer.status == status
    for name, value in HEADERS.items():
        assert answer.headers[name.lower()] == value
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "server" not in answer.headers
    if status != 200:
        assert set(answer.json) == {"error"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "elsewhere.example"}, 421),
        ({"Host": "127.0.0.1.elsewhere.example"}, 421),
        ({"Host": "localhost.:80"}, 421),
        ({"Host": ""}, 421),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Origin": "http://elsewhere.example"}, 403),
    ],
)
def test_only_this_machine_and_its_own_page_are_answered(served, headers, status):
    assert served.get("/", **headers).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": BYTES}, 201),
        ({}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_type": BYTES, "Origin": "http://elsewhere.example"}, 403),
        ({"content_type": BYTES, "Origin": "null"}, 403),
        ({"content_type": BYTES, "Origin": "http://127.0.0.1:1"}, 403),
        ({"content_type": BYTES, "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 403),
    ],
)
def test_a_page_elsewhere_cannot_post(served, headers, status):
    answer = served.ask("POST", "/examples/0/open", **headers)
    assert answer.status == status
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec_Fetch_Site": "same-origin"}
    assert served.ask("POST", "/examples/0/open", content_type=BYTES, **own).status == 201


# --- photographs


def test_a_photograph_is_analysed_once(served, opened, portrait):
    assert opened["size"] == opened["view"] == list(portrait.size)
    (face,) = opened["faces"]
    left, top, right, bottom = face["region"]
    x, y, width, height = face["box"]
    assert left <= x < x + width <= right
    assert top <= y < y + height <= bottom
    assert len(face["aus"]) == 17
    assert all(au is None or 0 <= au <= 5 for au in face["aus"])
    assert np.abs(view(served, opened).astype(int) - np.asarray(portrait)).mean() < 3


def test_an_edit_changes_the_face_and_nothing_else(served, opened, smile):
    """The region's blocks lie on the view's: what is not edited is the same bytes, coded the same."""
    answer = edits(served, opened, 1, face0=smile)
    assert answer.headers["content-type"] == "image/jpeg"
    left, top, right, bottom = opened["faces"][0]["region"]
    before, after = view(served, opened)[top:bottom, left:right], pixels(answer.content)
    assert before.shape == after.shape
    assert (before[:8] == after[:8]).mean() > 0.95
    x, y, width, height = (round(value) for value in opened["faces"][0]["box"])
    mouth = slice(y - top + height * 3 // 5, y - top + height), slice(x - left, x - left + width)
    change = np.abs(before.astype(int) - after)
    assert change[mouth].mean() > 2
    assert change[mouth].mean() > 2 * change.mean()


def test_no_edit_gives_the_photograph_back(served, opened):
    left, top, right, bottom = opened["faces"][0]["region"]
    answer = edits(served, opened, 1)
    assert np.array_equal(pixels(answer.content), view(served, opened)[top:bottom, left:right])


def test_the_download_has_the_photographs_own_pixels(served, opened, portrait, smile):
    answer = served.question(f"/photographs/{opened['id']}/edited", targets={"0": smile})
    assert answer.headers["content-type"] == "image/png"
    edited, source = pixels(answer.content), np.asarray(portrait)
    assert edited.shape == source.shape
    left, top, right, bottom = opened["faces"][0]["region"]
    changed = (edited != source).any(axis=2)
    assert changed[top:bottom, left:right].mean() > 0.1
    changed[top:bottom, left:right] = False
    assert not changed.any()


def test_a_stale_change_is_dropped(served, opened, smile):
    assert edits(served, opened, 7, face0=smile).status == 200
    dropped = edits(served, opened, 6, face0=smile)
    assert (dropped.status, dropped.content) == (204, b"")
    assert edits(served, opened, 8, face0=smile).status == 200


def test_a_large_photograph_is_shown_smaller_and_downloaded_as_it_is(served, portrait, smile):
    large = portrait.crop((80, 0, 370, 290)).resize((2000, 2000), Image.Resampling.LANCZOS)
    opened = served.upload("large.jpg", coded(large, "JPEG")).json
    assert opened["size"] == [2000, 2000]
    assert opened["view"][0] == view(served, opened).shape[0] < 2000
    left, top, right, bottom = opened["faces"][0]["region"]
    assert max(right - left, bottom - top) <= 1.5 * FACE_SIDE
    assert edits(served, opened, 1, face0=smile).status == 200
    answer = served.question(f"/photographs/{opened['id']}/edited", targets={"0": smile})
    assert pixels(answer.content).shape == (2000, 2000, 3)


def test_the_colour_profile_goes_along(served, portrait, smile):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    opened = served.upload("own.png", coded(portrait, "PNG", icc_profile=profile)).json
    answers = [
        served.get(f"/photographs/{opened['id']}/view"),
        edits(served, opened, 1, face0=smile),
        served.question(f"/photographs/{opened['id']}/edited", targets={"0": smile}),
    ]
    assert [Image.open(io.BytesIO(answer.content)).info["icc_profile"] for answer in answers] == [profile] * 3


def test_what_the_page_does_not_keep_of_a_file_is_said(served, portrait):
    inks, grey = portrait.convert("CMYK"), portrait.convert("L")
    clear, opaque = portrait.convert("RGBA"), portrait.convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    said = {}
    for name, image, kind in (("clear", clear, "PNG"), ("opaque", opaque, "PNG"), ("inks", inks, "TIFF")):
        options = {"icc_profile": b"of inks"} if name == "inks" else {}
        said[name] = served.upload(f"{name}.x", coded(image, kind, **options)).json["notes"]
    said["grey"] = served.upload("grey.png", coded(grey, "PNG", icc_profile=b"of grey")).json["notes"]
    assert said["clear"] == [
        "The file was put on white where it is transparent: the result has no transparency"
    ]
    assert said["opaque"] == []
    assert said["inks"] == [
        "The file was read without its colour profile: it is one of CMYK, the result is RGB"
    ]
    assert said["grey"] == ["The file was read without its colour profile: it is one of L, the result is RGB"]


def test_an_example_is_shown_small(served):
    answer = served.get("/examples/0")
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(pixels(answer.content).shape) <= 320


def test_every_face_keeps_its_own_edit(served, portrait, smile):
    part = np.asarray(portrait)[:330, 80:370]
    double = Image.fromarray(np.hstack([part, part[:, ::-1]]))
    opened = served.upload("two.png", coded(double, "PNG")).json
    assert len(opened["faces"]) == 2
    both = {"face0": smile, "face1": smile}
    one = pixels(edits(served, opened, 1, face=1, face1=smile).content)
    assert np.array_equal(one, pixels(edits(served, opened, 2, face=1, **both).content))
    answer = served.question(f"/photographs/{opened['id']}/edited", targets={"0": smile, "1": smile})
    changed = (pixels(answer.content) != np.asarray(double)).any(axis=2)
    for face in opened["faces"]:
        x, y, width, height = (round(value) for value in face["box"])
        assert changed[y : y + height, x : x + width].mean() > 0.3


def test_another_photograph_is_read_and_not_kept(served, portrait):
    answer = served.upload("other.png", coded(portrait, "PNG"), "/readings")
    assert answer.status == 200
    assert len(answer.json["aus"]) == 17
    assert any(answer.json["aus"])
    assert answer.json["notes"] == []
    part = np.asarray(portrait)[:330, 80:370]
    two = coded(Image.fromarray(np.hstack([part, part])), "PNG")
    assert "the largest was read" in served.upload("two.png", two, "/readings").json["notes"][0]
    none = served.upload("none.png", coded(Image.new("RGB", (64, 64)), "PNG"), "/readings")
    assert none.status == 400
    assert "no face was found in none.png" in none.json["error"]


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 50_000,
        b'{"face": 0, "number": 1}',
        b'{"face": 1, "number": 1, "targets": {}}',
        b'{"face": true, "number": 1, "targets": {}}',
        b'{"face": 0, "number": -1, "targets": {}}',
        b'{"face": 0, "number": 1e999, "targets": {}}',
        b'{"face": 0, "number": 1, "targets": {"1": []}}',
        b'{"face": 0, "number": 1, "targets": {"0": 3}}',
        b'{"face": 0, "number": 1, "targets": {"0": [1, 2]}}',
        b'{"face": 0, "number": 1, "targets": {"0": ["a"]}}',
        b'{"face": 0, "number": 1, "targets": {"0": [[1], [2, 3]]}}',
        b'{"face": 0, "number": 1, "targets": {"0": [' + b"NaN, " * 16 + b"0]}}",
        b'{"face": 0, "number": 1, "targets": {"0": [' + b"0, " * 16 + b"5.1]}}",
        b'{"face": 0, "number": 1, "targets": {"0": [' + b"0, " * 16 + b"1" + b"0" * 400 + b"]}}",
        b'{"face": 0, "number": 1, "targets": {"0": null}}',
    ],
)
def test_a_question_that_means_nothing_is_one_line(served, opened, asked):
    path = f"/photographs/{opened['id']}/edits"
    answer = served.ask("POST", path, asked, content_type="application/json")
    assert answer.status == 400
    assert "\n" not in answer.json["error"]
    assert edits(served, opened, 1).status == 200


# --- limits


def test_what_is_too_large_is_refused_while_it_arrives(served, opened, monkeypatch):
    monkeypatch.setattr(server, "LARGEST_FILE", 1 << 20)
    assert "more than 1 MiB" in served.upload("large.png", bytes((1 << 20) + 1)).json["error"]
    parts = (bytes(1 << 16) for _ in range(17))  # without a length, in chunks
    answer = served.ask("POST", "/photographs", parts, content_type=BYTES)
    assert answer.status == 413
    answer = served.ask("POST", f"/photographs/{opened['id']}/edits", bytes(1 << 17), content_type=BYTES)
    assert answer.status == 413


def test_an_upload_that_does_not_arrive_ends(served, monkeypatch):
    monkeypatch.setattr(server, "UPLOAD_SECONDS", 0.05)
    answer = served.ask("POST", "/photographs", content_type=BYTES, Content_Length="10")
    assert answer.status == 408


class Stand:
    """What a photograph weighs."""

    def __init__(self, side):
        self.pixels = np.broadcast_to(np.zeros((), np.uint8), (side, side, 3))


def test_photographs_that_were_not_used_for_longest_are_dropped():
    kept = OpenPhotographs()
    names = [kept.add(Stand(10)) for _ in range(KEPT)]
    assert kept.get(names[0])
    names.append(kept.add(Stand(10)))
    assert [kept.get(name) is None for name in names] == [False, True] + [False] * (KEPT - 1)
    last = [kept.add(Stand(5000)) for _ in range(6)]
    assert [kept.get(name) is None for name in last] == [True] * 3 + [False] * 3
    assert len(kept) == 3
    assert kept.get(kept.add(Stand(20_000)))
    assert len(kept) == 1


def test_a_dropped_photograph_says_so(analyst, example):
    ends = serve(DemoServer(analyst, [example]))
    served = next(ends)
    names = [served.ask("POST", "/examples/0/open", content_type=BYTES).json["id"] for _ in range(KEPT + 1)]
    assert len(set(names)) == KEPT + 1
    answer = served.get(f"/photographs/{names[0]}/view")
    assert answer.status == 404
    assert "open it again" in answer.json["error"]
    assert served.get(f"/photographs/{names[-1]}/view").status == 200
    ends.close()


@pytest.mark.slow
def test_hostile_files_are_opened_or_refused_in_a_line(face, tmp_path):
    """By the command's own process, whose memory is measured, and which then ends as it should."""
    given = files(face)
    assert len(given) >= 40
    with running(tmp_path) as (served, process):
        for name, content, is_face in given:
            answer = served.upload(name, content)
            assert answer.status == (201 if is_face else 400), (name, answer.content[:300])
            if not is_face:
                error = answer.json["error"]
                assert error.isprintable(), name
                assert len(error) < 400
            assert served.get("/").status == 200
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        assert int(status.split("VmHWM:")[1].split()[0]) * 1024 < 1.5 * 2**30
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, "stopped\n", [])


# --- the command


@contextmanager
def running(folder, *options):
    """Run `eggan demo`; gives what is served, and the process."""
    command = [sys.executable, "-m", "eggan", "demo", *options]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/ in a browser  \(Ctrl-C stops it\)\n", line)
        assert found, (line, process.stderr.read() if process.poll() is not None else "")
        yield Served(int(found[1])), process
    finally:
        process.kill()
        process.communicate()


def ended(process):
    """Return the exit status, what was printed, and the lines on stderr but for those on progress."""
    printed, complaints = process.communicate(timeout=20)
    return process.returncode, printed, [line for line in complaints.splitlines() if "loading" not in line]


@pytest.mark.slow
def test_the_command_opens_with_a_photograph_and_ends_at_a_signal(portrait, tmp_path):
    portrait.save(tmp_path / "own photograph.png")
    with running(tmp_path, "--photograph", "own photograph.png") as (served, process):
        text = served.get("/").content.decode()
        assert 'data-opened="0"' in text
        assert "own photograph.png" in text
        assert served.ask("POST", "/examples/0/open", content_type=BYTES).json["name"] == "own photograph.png"
        with pytest.raises(ConnectionRefusedError):  # nothing listens to other machines
            socket.create_connection(("127.0.0.2", served.port), timeout=5)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (0, "stopped\n", [])


def test_what_cannot_be_opened_or_listened_on_is_one_line(eggan, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "empty.png")
    (tmp_path / "large.png").write_bytes(b"")
    os.truncate(tmp_path / "large.png", (40 << 20) + 1)
    with listening(0) as taken:
        port = taken.getsockname()[1]
        cases = {
            "choose another --port": ("--port", port),
            "cannot listen on 127.0.0.1:70000": ("--port", 70_000),
            "no such photograph": ("--photograph", tmp_path / "none.png"),
            "larger than 40 MiB": ("--photograph", tmp_path / "large.png"),
            "no face was found in empty.png": ("--photograph", tmp_path / "empty.png"),
        }
        for words, options in cases.items():
            status, printed, complaint = eggan("demo", *options)
            assert (status, printed) == (2, "")
            assert words in complaint
            assert len(complaint.splitlines()) == 1
