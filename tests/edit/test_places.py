"""Which photographs are edited at once, and where each result goes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eggan.edit.places import list_left_out, photographs_among, places_of
from eggan.errors import UserError


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def photograph(name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def results(*images: str, output: str = "out") -> dict[str, str]:
    places = places_of([Path(image) for image in images], Path(output)).places
    return {place.photograph.as_posix(): place.result.as_posix() for place in places}


def test_they_keep_their_names_and_the_forms_that_are_written():
    for name in ("a.jpg", "b b/c.WEBP", "d.bmp"):
        photograph(name)
    assert results("a.jpg", "b b/c.WEBP", "d.bmp") == {
        "a.jpg": "out/a.jpg",
        "b b/c.WEBP": "out/c.WEBP",
        "d.bmp": "out/d.bmp.png",
    }


def test_a_folder_keeps_the_paths_below_it_and_earlier_results_are_no_photographs_of_it():
    for name in ("p/anna/1.jpg", "p/bert/1.jpg", "p/.thumbnails/1.jpg", "p/edits/anna/1.jpg"):
        photograph(name)
    Path("p/notes.txt").write_text("not a picture")
    wanted = {"p/anna/1.jpg": "p/edits/anna/1.jpg", "p/bert/1.jpg": "p/edits/bert/1.jpg"}
    assert results("p", output="p/edits") == wanted
    assert "p/edits/anna/1.jpg" in results("p")


def test_a_photograph_that_is_given_twice_is_edited_once():
    photograph("p/a.jpg")
    Path("link.jpg").symlink_to("p/a.jpg")
    assert results("link.jpg", "p", "p/a.jpg") == {"link.jpg": "out/link.jpg"}


def test_what_would_be_written_over_another_result_or_a_photograph_is_refused():
    for name in ("p/a.jpg", "q/a.jpg", "a.jpg"):
        photograph(name)
    with pytest.raises(UserError, match=r"p/a.jpg and q/a.jpg would both become out/a.jpg"):
        results("p/a.jpg", "q/a.jpg")
    with pytest.raises(UserError, match=r"a.jpg is one of the photographs"):
        results("p/a.jpg", "a.jpg", output=".")
    with pytest.raises(UserError, match=r"p/a.jpg is one of the photographs"):
        results("p", output="p")
    with pytest.raises(UserError, match=r"out.png is the name of one picture: name a folder"):
        results("p", output="out.png")


def test_what_is_not_there_or_holds_no_image_is_refused():
    photograph("a.jpg")
    with pytest.raises(UserError, match=r"no such image: b.jpg"):
        results("a.jpg", "b.jpg")
    Path("empty").mkdir()
    with pytest.raises(UserError, match="no image lies in empty"):
        results("empty")
    Path("empty/raw.dng").write_bytes(b"II*\0")
    with pytest.raises(UserError, match=r"no image that can be read \(empty/raw.dng: a camera's raw file"):
        results("empty")


def test_images_in_a_folder_that_cannot_be_read_are_listed():
    photograph("p/a.jpg")
    Path("p/raw.dng").write_bytes(b"II*\0")
    given = photographs_among([Path("p")])
    assert list(given.named) == [Path("p/a.jpg")]
    assert len(given.unusable) == 1
    assert given.unusable[0].startswith("p/raw.dng: a camera's raw file")


def test_what_is_left_out_is_listed_and_one_alone_is_the_error(capsys):
    list_left_out([], 3, "read")
    with pytest.raises(UserError, match=r"^a.jpg: why$"):
        list_left_out(["a.jpg: why"], 1, "read")
    assert capsys.readouterr() == ("", "")
    with pytest.raises(UserError, match=r"^1 of 2 photographs could not be read, as listed above$"):
        list_left_out(["a.jpg: why"], 2, "read")
    assert capsys.readouterr() == ("", "left out: a.jpg: why\n")
