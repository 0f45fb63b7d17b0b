"""The tutorial's commands in their order, at small sizes, each in the folder that those before it left."""

import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from eggan.data.synfacs import sheet

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
# Added to a command that starts so: smaller sizes, and nothing else of what a reader does.
SMALLER = {
    "data sheet": ("--size", "64"),
    "data build synfacs": (
        *("--identities", "3", "--images-per-identity", "8", "--workers", "1"),
        *("--out", "data/synfacs-small-crowd-64px-s0"),
    ),
    "train eggan-w": ("--set", "training.images=4", "--set", "training.batch_size=2", "--offline"),
}
MADE = {
    "data sheet": "people.png",
    "edit face.jpg --au 12=4 --au 6=3": "smile.png",
    "interpolate face.jpg": "surprise.png",
    "data build": "data/synfacs-small-crowd-64px-s0/images.npy",
    "train eggan-w": "runs/mine/weights.safetensors",
    "edit face.jpg --au 12=4 --checkpoint": "mine.png",
}
NOT_RUN = {
    "make quickstart": "installs the project and trains for minutes; tests of suites and reports run parts",
    ". .venv/bin/activate": "the tests run in such an environment already",
    "eggan report build": "needs a finished suite; tests/reports/test_build.py builds from one",
}


def lines() -> list[str]:
    """Return every line of the tutorial's shell blocks."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def of_start(table: dict, command: str):
    return next((value for start, value in table.items() if command.startswith(start)), None)


def test_every_line_is_run_or_says_why_not():
    other = [line for line in lines() if not line.startswith("eggan ") or line in NOT_RUN]
    assert set(other) == set(NOT_RUN)
    commands = [line.removeprefix("eggan ") for line in lines() if line not in NOT_RUN]
    for table in (SMALLER, MADE):
        assert all(any(command.startswith(start) for command in commands) for start in table)


def test_the_commands_run_one_after_the_other_and_leave_what_the_next_needs(eggan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sheet, "expression_sheet", partial(sheet.expression_sheet, people=1))
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save("face.jpg")
    for line in lines():
        if line in NOT_RUN:
            continue
        command = line.removeprefix("eggan ")
        status, _, error = eggan(*shlex.split(command), *(of_start(SMALLER, command) or ()))
        assert status == 0, f"{line}: {error}"
        made = of_start(MADE, command)
        assert made is None or (tmp_path / made).is_file(), line


def test_a_command_that_fails_is_found(eggan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (command,) = [line for line in lines() if line.startswith("eggan edit") and "--checkpoint" in line]
    assert eggan(*shlex.split(command.removeprefix("eggan ")))[0] == 2  # nothing was trained
