"""`eggan edit` on malformed and hostile files: a good result or one line, and never much memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eggan.data import decoding
from eggan.edit import photo_faces
from tests.edit.hostile import BAD, GOOD, heic

EDIT = ("--au", "12=5", "--au", "25=4")
MOST_MEMORY_MIB = 1536
pytestmark = pytest.mark.usefixtures("shipped_read_once")


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photo_faces, "shown_by", lambda *_: np.zeros(17))


def test_there_are_more_than_forty():
    assert len(GOOD) + len(BAD) >= 40


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_an_unusual_file_is_edited(tmp_path, eggan, name):
    (tmp_path / name).write_bytes(GOOD[name]())
    status, out, err = eggan("edit", f"./{name}", *EDIT, "-o", "out.png")
    assert (status, err) == (0, "")
    before, edited = (
        np.asarray(decoding.decode_rgb(tmp_path / file).image).astype(int) for file in (name, "out.png")
    )
    assert edited.shape == (224, 224, 3)
    assert np.abs(edited - before).max() > 40
    assert np.array_equal(edited[195:], before[195:])
    assert all(line.startswith(("eggan-w ", "note: ", "wrote ")) for line in out.splitlines())


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_file_that_holds_no_picture_is_refused_in_one_line(tmp_path, eggan, name):
    (tmp_path / name).write_bytes(BAD[name]())
    status, _, err = eggan("edit", name, *EDIT, "-o", "out.png")
    assert status == 2
    assert err.startswith("eggan: ")
    assert err.count("\n") == 1
    assert len(err) < 300
    assert not (tmp_path / "out.png").exists()


def test_a_heic_file_without_the_plug_in_says_what_to_install(tmp_path, eggan, monkeypatch):
    monkeypatch.setattr(decoding, "heic_is_readable", lambda: False)
    (tmp_path / "a.heic").write_bytes(heic())
    status, _, err = eggan("edit", "a.heic", *EDIT, "-o", "out.png")
    assert (status, "pip install 'eggan[heif]'" in err) == (2, True)


def test_a_folder_is_no_photograph_but_may_hold_some(tmp_path, eggan):
    (tmp_path / "folder.jpg").mkdir()
    status, _, err = eggan("interpolate", "folder.jpg", *EDIT, "-o", "out.png")
    assert (status, "is a folder, not an image" in err) == (2, True)
    status, _, err = eggan("edit", "folder.jpg", *EDIT, "-o", "out.png")
    assert (status, "name a folder for several photographs" in err) == (2, True)
    status, _, err = eggan("edit", "folder.jpg", *EDIT, "-o", "out")
    assert (status, "no image lies in folder.jpg" in err) == (2, True)


MEASURED = """
from eggan.cli import main
from eggan.edit_cost import peak_memory_mib
from tests.edit.hostile import BAD, GOOD
from eggan.edit import photo_faces
import numpy as np
from pathlib import Path
photo_faces.shown_by = lambda *_: np.zeros(17)
for name, make in {**BAD, **GOOD}.items():
    if name.startswith("bomb") or name in ("heic.heic", "cmyk.tif"):
        Path("f").write_bytes(make())
        main(["edit", "f", "--au", "12=5", "-o", "out.png"])
print("MIB", round(peak_memory_mib("cpu")))
"""


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    word, mib = done.stdout.splitlines()[-1].split()
    assert (word, done.returncode) == ("MIB", 0), done.stderr
    assert int(mib) < MOST_MEMORY_MIB
