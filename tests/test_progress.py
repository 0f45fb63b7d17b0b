"""Progress: lines of a log file, the bar of a terminal, and readers that are gone."""

import io
import os
import pty
import select
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from eggan import progress
from eggan.progress import Progress, clock, log_line, progress_bar, working


@pytest.fixture
def _fast(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.1)
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.05)


def slow_items(count: int, seconds: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_what_is_short_prints_nothing_in_a_log_file(capsys):
    assert list(progress_bar(range(1000), 1000, "count")) == list(range(1000))
    with working("load"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_fast")
def test_a_log_file_gets_whole_lines_now_and_then(capsys):
    assert list(progress_bar(slow_items(6, 0.06), 6, "render", "image")) == list(range(6))
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert "\r" not in err
    assert err.endswith("\n")
    assert 2 <= len(lines) <= 6
    assert lines[0].startswith("render: ")
    assert " of 6 images (" in lines[0]
    assert lines[-1] == "render: 6 images done in 0:00"


@pytest.mark.usefixtures("_fast")
def test_a_block_without_a_count_says_what_it_does(capsys):
    with working("load the libraries"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "load the libraries: 0:00 so far"
    assert lines[-1] == "load the libraries: done in 0:00"


@pytest.mark.usefixtures("_fast")
def test_a_block_that_silences_what_it_calls_is_still_heard(capsys):
    with working("export"), redirect_stderr(io.StringIO()) as silenced:
        time.sleep(0.2)
    assert silenced.getvalue() == ""
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "export: 0:00 so far"
    assert lines[-1] == "export: done in 0:00"


@pytest.mark.usefixtures("_fast")
def test_what_fails_is_not_called_done(capsys):
    def failing():
        with working("load"):
            time.sleep(0.1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        failing()
    assert "done" not in capsys.readouterr().err
    time.sleep(0.2)
    assert capsys.readouterr().err == ""  # nothing goes on in the background


@pytest.mark.usefixtures("_fast")
def test_one_long_step_is_not_silent(capsys):
    with progress_bar(total=2, description="train") as bar:
        time.sleep(0.2)
        bar.update(2)
    assert "train: 0 of 2 steps (0 %)" in capsys.readouterr().err


def drained(terminal):
    """Return all that a terminal holds; one read may return a part."""
    parts = []
    while select.select([terminal], [], [], 0.1)[0]:
        parts.append(os.read(terminal, 100_000))
    return b"".join(parts)


@pytest.mark.usefixtures("_fast")
def test_a_terminal_shows_a_bar(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8", closefd=True) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert list(progress_bar(slow_items(3, 0.06), 3, "render", "image")) == [0, 1, 2]
        with working("load"):
            time.sleep(0.2)
        terminal.flush()
        printed = drained(ours).decode()
    os.close(ours)
    assert "render: 100%" in printed
    assert "3/3" in printed
    assert "load .. 00:00" in printed
    assert printed.endswith("\r")  # the block without a count leaves no line


@pytest.mark.usefixtures("_fast")
@pytest.mark.parametrize("gone", ["missing", "closed", "broken"])
def test_a_reader_that_is_gone_stops_no_work(monkeypatch, gone):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    stream = {"missing": None, "closed": io.StringIO(), "broken": Broken()}[gone]
    if gone == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress_bar(slow_items(4, 0.05), 4, "render")) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "unit", "line"),
    [
        (24, 96, 12.0, "image", "render: 24 of 96 images (25 %), 2 images/s, 0:36 left"),
        (0, 96, 12.0, "image", "render: 0 of 96 images (0 %), 0 images/s, 0:12 so far"),
        (1, 100, 50.0, "step", "render: 1 of 100 steps (1 %), 50.0 s/step, 1:22:30 left"),
        (7, None, 14.0, "step", "render: 7 steps, 0:14, 0.5 steps/s"),
        (0, None, 75.0, "", "render: 1:15 so far"),
    ],
)
def test_a_line_says_how_far_how_fast_and_how_long(done, total, seconds, unit, line):
    state = Progress(None, total, "render", unit)
    state.update(done)
    assert log_line(state, seconds) == line


def test_the_total_is_the_length_where_there_is_one():
    assert progress_bar([1, 2, 3], description="x").total == 3
    assert progress_bar(iter([1]), description="x").total is None


def test_a_bar_without_an_iterable_cannot_be_iterated():
    with pytest.raises(TypeError, match="update"):
        list(progress_bar(total=3))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.usefixtures("_fast")
def test_in_a_log_file_a_block_leaves_the_word_to_a_bar_inside_it(capsys):
    with working("build"):
        time.sleep(0.08)
        list(progress_bar(slow_items(5, 0.06), 5, "train"))
        capsys.readouterr()
        list(progress_bar(range(3), 3, "check"))  # too short to speak
        time.sleep(0.25)
        assert "build: " in capsys.readouterr().err
        with progress_bar(total=2, description="score") as bar:
            time.sleep(0.3)
            bar.update(2)
        lines = capsys.readouterr().err.splitlines()
    spoken = [line for line in lines if line.startswith("score")]
    assert len(spoken) >= 3
    assert len([line for line in lines if line.startswith("build")]) <= 1  # before the bar's first line


@pytest.mark.usefixtures("_fast")
def test_a_loop_that_an_error_ended_goes_silent_with_its_command(capsys):
    def reading() -> None:
        with progress.none_left():
            for _ in progress_bar(range(3), 3, "read"):
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as kept:  # and with the error the loop
        reading()
    time.sleep(0.2)
    assert kept.traceback
    assert capsys.readouterr().err == ""
