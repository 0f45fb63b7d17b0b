"""`eggan aus`: what the faces in photographs show."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from eggan.aus import AU_COLUMNS, AU_NAMES
from eggan.edit import EXAMPLE_PHOTOGRAPH, aus_command
from eggan.edit.photo_faces import steadied
from eggan.evaluation.landmark_reader import load_landmark_reader
from eggan.faces.find import find_faces


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder with the example, two faces of it in one picture, and a picture without a face."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE_PHOTOGRAPH, "one.jpg")
    portrait = Image.open(EXAMPLE_PHOTOGRAPH).convert("RGB")
    pair = Image.new("RGB", (768, 512), (128, 128, 128))
    pair.paste(portrait)
    pair.paste(portrait.resize((256, 256)), (512, 100))
    pair.save("two.png")
    Image.new("RGB", (80, 80), "grey").save("none.png")


def shown(path) -> list[np.ndarray]:
    pixels = np.array(Image.open(path).convert("RGB"))
    faces = [steadied(face, pixels) for face in find_faces(pixels)]
    return list(load_landmark_reader().read(np.stack([face.landmarks for face in faces])))


def test_each_au_has_a_line_with_its_name_and_what_is_not_read_has_a_dash(eggan):
    status, out, err = eggan("aus", "one.jpg")
    assert (status, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading == "one.jpg"
    (aus,) = shown("one.jpg")
    assert len(lines) == len(AU_NAMES)
    for line, (number, name), value in zip(lines, AU_NAMES.items(), aus, strict=True):
        assert line.split() == [f"AU{number}", *name.split(), "-" if np.isnan(value) else f"{value:.2f}"]
    assert "-" in lines[list(AU_NAMES).index(7)]


def test_what_was_done_to_a_photograph_is_said_beside_the_table(eggan):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = Image.open("one.jpg").transpose(Image.Transpose.ROTATE_90)
    turned.save("turned.png", exif=exif)
    status, out, err = eggan("aus", "turned.png", "--csv")
    assert (status, err) == (0, "note: turned.png was turned upright as its EXIF tag says\n")
    assert len(out.splitlines()) == 2


def test_several_faces_have_a_column_each_where_they_are_asked_for(eggan):
    status, out, err = eggan("aus", "two.png", "--all-faces")
    assert status == 0
    assert "face 2 of two.png is small or turned to the side" in err
    largest, other = shown("two.png")
    assert largest[0] != other[0]
    line = next(line for line in out.splitlines() if line.split()[0] == "AU1")
    assert line.split()[-2:] == [f"{largest[0]:.2f}", f"{other[0]:.2f}"]
    status, out, err = eggan("aus", "two.png")
    assert (status, "shows 2 faces: the largest is read" in err) == (0, True)
    (line,) = (line for line in out.splitlines() if line.split()[0] == "AU1")
    assert line.split()[-2:] == ["raiser", f"{largest[0]:.2f}"]


def test_a_table_for_programs_has_a_line_for_each_face_and_nothing_else(eggan):
    status, out, err = eggan("aus", ".", "--csv", "--all-faces")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["file"], row["face"]) for row in rows] == [
        ("one.jpg", "1"),
        ("two.png", "1"),
        ("two.png", "2"),
    ]
    (aus,) = shown("one.jpg")
    assert [rows[0][column] for column in AU_COLUMNS] == ["" if np.isnan(v) else f"{v:.2f}" for v in aus]
    left, width = float(rows[2]["left"]), float(rows[2]["width"])
    assert 512 < left < left + width < 768
    assert (status, err.splitlines()[-2:]) == (
        2,
        [
            "left out: no face was found in none.png",
            "eggan: 1 of 3 photographs could not be read, as listed above",
        ],
    )


def test_a_table_is_of_the_largest_faces_where_nothing_else_is_asked_for(eggan):
    _, out, err = eggan("aus", ".", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["file"], row["face"]) for row in rows] == [("one.jpg", "1"), ("two.png", "1")]
    assert "two.png shows 2 faces: the largest is read (--all-faces)" in err
    assert "a line for the largest face of each" in aus_command.EXAMPLE


def test_one_photograph_that_cannot_be_read_is_one_line(eggan):
    assert eggan("aus", "none.png") == (2, "", "eggan: no face was found in none.png\n")
    assert eggan("aus", "lost.png") == (2, "", "eggan: no such image: lost.png\n")


def test_a_file_that_cannot_be_read_beside_one_photograph_is_listed(eggan):
    """As `eggan edit` lists it: the photograph is read all the same."""
    Path("p").mkdir()
    shutil.copy("one.jpg", "p/one.jpg")
    Path("p/raw.dng").write_bytes(b"II*\0")
    for words in (("aus", "p"), ("edit", "p", "--au", "4=3", "--keep")):
        status, out, err = eggan(*words)
        assert (status, "p/one.jpg" in out or "edited 1 of 2 photographs" in out) == (2, True)
        left_out, last = err.splitlines()
        assert left_out.startswith("left out: p/raw.dng: a camera's raw file")
        deed = "read" if words[0] == "aus" else "edited"
        assert last == f"eggan: 1 of 2 photographs could not be {deed}, as listed above"
    assert Path("edits/one.jpg").is_file()


def test_photographs_may_stand_on_both_sides_of_an_option(eggan):
    shutil.copy("one.jpg", "b.jpg")
    status, out, _ = eggan("aus", "one.jpg", "--csv", "b.jpg")
    assert (status, [line.split(",")[0] for line in out.splitlines()]) == (0, ["file", "one.jpg", "b.jpg"])
    status, out, _ = eggan("edit", "one.jpg", "--au", "4=3", "b.jpg", "--keep", "-o", "out")
    assert (status, "edited 2 of 2 photographs into out" in out) == (0, True)
