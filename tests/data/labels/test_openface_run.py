"""Running OpenFace: batches, resumption, failures, and what is recorded; a script acts as the programs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eggan.aus import AU_COLUMNS
from eggan.data.labels import openface_run
from eggan.data.labels.openface import NO_FACE
from eggan.data.labels.openface_run import find_openface, label_images, label_videos, require_openface
from eggan.errors import UserError
from tests.data.published import FakeOpenFace, image_text, write_avi

AUS = np.round(np.random.default_rng(3).uniform(0, 5, (7, 17)), 3)
IMAGES = np.random.default_rng(4).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOpenFace:
    monkeypatch.setattr(openface_run, "BATCH", 3)
    return FakeOpenFace(tmp_path / "bin")


@pytest.fixture
def photos(tmp_path: Path, fake: FakeOpenFace) -> dict[str, Path]:
    """Seven images that the program knows, by key."""
    paths = {}
    for number, image in enumerate(IMAGES):
        paths[f"p/{number}"] = tmp_path / f"{number}.png"
        Image.fromarray(image).save(paths[f"p/{number}"])
    fake.answer_images(paths.values(), AUS)
    return paths


def quiet(items, *_):
    return items


def test_images_are_labelled_in_batches(tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]) -> None:
    counted = []

    def bar(batches, total, what):
        counted.append((total, what))
        return batches

    table = label_images(require_openface(fake.folder, "2.2.0"), photos, tmp_path / "work", bar)
    assert list(table.table.index) == list(photos)
    assert (table.table[list(AU_COLUMNS)].to_numpy(float) == AUS).all()
    assert (table.tool, table.mode) == ("OpenFace", "static")
    assert table.version.startswith("2.2.0 (")
    assert fake.calls() == [
        ["FaceLandmarkImg", 3, False],
        ["FaceLandmarkImg", 3, False],
        ["FaceLandmarkImg", 1, False],
    ]
    assert counted == [(3, "OpenFace")]
    assert not list(tmp_path.glob("work/*/.batch*"))


def test_a_second_run_asks_for_nothing_and_new_images_only(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    openface = require_openface(fake.folder)
    some = dict(list(photos.items())[:4])
    first = label_images(openface, some, tmp_path / "work", quiet)
    done = len(fake.calls())
    moved = photos["p/0"].rename(tmp_path / "renamed.png")  # known by content, whatever its name
    again = label_images(openface, {**photos, "p/0": moved}, tmp_path / "work", quiet)
    assert fake.calls()[done:] == [["FaceLandmarkImg", 3, False]]
    assert (again.table.loc[list(some)] == first.table).all(axis=None)


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    def interrupted(batches, *_):
        yield batches[0]
        raise KeyboardInterrupt

    openface = require_openface(fake.folder)
    with pytest.raises(KeyboardInterrupt):
        label_images(openface, photos, tmp_path / "work", interrupted)
    table = label_images(openface, photos, tmp_path / "work", quiet)
    assert [count for _, count, _ in fake.calls()] == [3, 3, 1]
    assert (table.table[list(AU_COLUMNS)].to_numpy(float) == AUS).all()


def test_no_face_and_several_faces_are_problems_that_are_remembered(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    fake.answer_image(photos["p/1"], None)
    two = image_text(AUS[2])
    fake.answer_image(photos["p/2"], two + two.splitlines()[1] + "\n")
    openface = require_openface(fake.folder)
    for _ in range(2):
        table = label_images(openface, photos, tmp_path / "work", quiet).table
        assert table.at["p/1", "problem"] == NO_FACE
        assert table.at["p/2", "problem"] == "OpenFace found several faces (2)"
        assert np.isnan(table.loc[["p/1", "p/2"], list(AU_COLUMNS)].to_numpy(float)).all()
        assert (table["problem"] == "").sum() == 5
    assert [count for _, count, _ in fake.calls()] == [3, 3, 1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("crash", "ended with status -6"),
        ("unreadable", "ended with status 1: ERROR: Could not open the image"),
    ],
)
def test_one_bad_image_costs_itself_only_and_is_tried_again(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path], how: str, message: str
) -> None:
    openface = require_openface(fake.folder)
    fake.answer_image(photos["p/3"], how)
    table = label_images(openface, photos, tmp_path / "work", quiet).table
    assert f"FaceLandmarkImg {message}" in table.at["p/3", "problem"]
    assert list(table.index[table["problem"] == ""]) == [key for key in photos if key != "p/3"]
    assert (table.loc["p/4", list(AU_COLUMNS)].to_numpy(float) == AUS[4]).all()
    done = len(fake.calls())
    fake.answer_images([photos["p/3"]], AUS[3:4])  # the program was mended
    table = label_images(openface, photos, tmp_path / "work", quiet).table
    assert (table.loc["p/3", list(AU_COLUMNS)].to_numpy(float) == AUS[3]).all()
    assert fake.calls()[done:] == [["FaceLandmarkImg", 1, False]]


def test_a_broken_installation_stops_at_once(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    (fake.folder / "broken").touch()
    with pytest.raises(UserError, match=r"failed on each of the first 3 inputs: .*could not load the models"):
        label_images(require_openface(fake.folder), photos, tmp_path / "work", quiet)
    assert len(fake.calls()) == 4
    (fake.folder / "broken").unlink()
    table = label_images(require_openface(fake.folder), photos, tmp_path / "work", quiet).table
    assert (table["problem"] == "").all()


def without_intensities(text: str) -> str:
    """What OpenFace writes where its AU models are missing: the columns up to the confidence."""
    return "\n".join(",".join(line.split(",")[:2]) for line in text.splitlines()) + "\n"


@pytest.mark.parametrize("count", [1, 2, 7])
def test_answers_without_intensities_stop_at_once_and_do_not_stay(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path], count: int
) -> None:
    some = dict(list(photos.items())[:count])
    for number, path in enumerate(some.values()):
        fake.answer_image(path, without_intensities(image_text(AUS[number])))
    with pytest.raises(UserError, match=r"wrote no AU01_r \(17 of 17 .* are its AU models"):
        label_images(require_openface(fake.folder), some, tmp_path / "work", quiet)
    fake.answer_images(some.values(), AUS[:count])  # the models were put beside the same program
    table = label_images(require_openface(fake.folder), some, tmp_path / "work", quiet)
    assert (table.table[list(AU_COLUMNS)].to_numpy(float) == AUS[:count]).all()


@pytest.mark.parametrize("text", ["", "face,confidence\n0,0.98\n", "face,confi"])
def test_bad_answers_that_an_earlier_version_kept_are_asked_again(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path], text: str
) -> None:
    openface = require_openface(fake.folder)
    label_images(openface, photos, tmp_path / "work", quiet)
    kept = sorted(tmp_path.glob("work/*/*.csv"))
    kept[0].write_text(text)
    done = len(fake.calls())
    table = label_images(openface, photos, tmp_path / "work", quiet)
    assert (table.table[list(AU_COLUMNS)].to_numpy(float) == AUS).all()
    assert fake.calls()[done:] == [["FaceLandmarkImg", 1, False]]


def test_a_bad_row_costs_its_image_only_and_is_asked_again(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    openface = require_openface(fake.folder)
    fake.answer_image(photos["p/3"], image_text(AUS[3]).replace(f"{AUS[3][0]:.3f}", "-nan(ind)", 1))
    table = label_images(openface, photos, tmp_path / "work", quiet).table
    assert table.at["p/3", "problem"].startswith("OpenFace's answer cannot be used: line 2: AU01_r is")
    assert (table["problem"] == "").sum() == 6
    fake.answer_images([photos["p/3"]], AUS[3:4])
    assert (label_images(openface, photos, tmp_path / "work", quiet).table["problem"] == "").all()


def test_an_installation_that_never_found_a_face_is_asked_again(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]
) -> None:
    for path in photos.values():
        fake.answer_image(path, None)
    openface = require_openface(fake.folder)
    assert (label_images(openface, photos, tmp_path / "work", quiet).table["problem"] == NO_FACE).all()
    fake.answer_images(photos.values(), AUS)
    assert (label_images(openface, photos, tmp_path / "work", quiet).table["problem"] == "").all()


def test_bad_answers_on_videos_do_not_stay(tmp_path: Path, fake: FakeOpenFace) -> None:
    video = write_avi(tmp_path / "v.avi", IMAGES[:3])
    fake.answer_frames(IMAGES[:3], AUS[:3])
    head = fake.answers["head"]
    fake.answers["head"] = head.replace("AU12_r", "AU99_r")
    fake._store()
    with pytest.raises(UserError, match=r"wrote no AU12_r \(1 of 17"):
        label_videos(require_openface(fake.folder), {"v": video}, tmp_path / "work", progress=quiet)
    fake.answers["head"] = head
    fake._store()
    table = label_videos(require_openface(fake.folder), {"v": video}, tmp_path / "work", progress=quiet)
    assert (table.table[list(AU_COLUMNS)].to_numpy(float) == AUS[:3]).all()


def test_another_program_starts_afresh(tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path]) -> None:
    first = label_images(require_openface(fake.folder, "2.2"), photos, tmp_path / "work", quiet)
    done = len(fake.calls())
    program = fake.folder / "FaceLandmarkImg"
    program.write_text(program.read_text() + "# another build\n")
    second = label_images(require_openface(fake.folder, "2.2"), photos, tmp_path / "work", quiet)
    assert len(fake.calls()) == 2 * done
    assert second.version != first.version


def test_videos_by_mode(tmp_path: Path, fake: FakeOpenFace) -> None:
    video = write_avi(tmp_path / "v.avi", IMAGES[:4])
    fake.answer_frames(IMAGES[:3], AUS[:3])
    openface = require_openface(fake.folder, "2.2.0")
    for mode in ("dynamic", "static"):
        for _ in range(2):
            table = label_videos(openface, {"s/v": video}, tmp_path / "work", mode, quiet)
        assert list(table.table.index) == ["s/v#0", "s/v#1", "s/v#2", "s/v#3"]
        assert (table.table[list(AU_COLUMNS)].to_numpy(float)[:3] == AUS[:3]).all()
        assert table.table.at["s/v#3", "problem"] == NO_FACE
        assert table.mode == mode
    assert fake.calls() == [["FeatureExtraction", 1, False], ["FeatureExtraction", 1, True]]


def test_a_video_that_fails_is_a_problem_of_its_own(tmp_path: Path, fake: FakeOpenFace) -> None:
    good = write_avi(tmp_path / "v.avi", IMAGES[:2])
    fake.answer_frames(IMAGES[:2], AUS[:2])
    (tmp_path / "w.avi").write_bytes(b"broken")
    videos = {"s/w": tmp_path / "w.avi", "s/v": good}
    table = label_videos(require_openface(fake.folder), videos, tmp_path / "work", progress=quiet).table
    assert list(table.index) == ["s/w#0", "s/v#0", "s/v#1"]
    assert "FeatureExtraction ended with status 1" in table.at["s/w#0", "problem"]


def test_where_openface_is_found(tmp_path: Path, fake: FakeOpenFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_openface(None) is None
    with pytest.raises(UserError, match=r"not on PATH; build OpenFace 2\.2 .* with --openface"):
        require_openface(None)
    with pytest.raises(UserError, match="FaceLandmarkImg is not in"):
        require_openface(tmp_path)
    monkeypatch.setenv("PATH", str(fake.folder))
    for given in (None, fake.folder, fake.folder / "FaceLandmarkImg"):
        found = find_openface(given, "2.2.0")
        assert found is not None
        assert found.folder == fake.folder
    (fake.folder / "FeatureExtraction").unlink()
    with pytest.raises(UserError, match="FeatureExtraction is not in"):
        label_videos(
            require_openface(None), {"v": tmp_path / "bin" / "answers.json"}, tmp_path / "w", progress=quiet
        )


def test_nothing_to_label_is_a_user_error(tmp_path: Path, fake: FakeOpenFace) -> None:
    with pytest.raises(UserError, match="no image to label"):
        label_images(require_openface(fake.folder), {}, tmp_path, quiet)
    with pytest.raises(UserError, match="no video to label"):
        label_videos(require_openface(fake.folder), {}, tmp_path, progress=quiet)


def test_a_hanging_program_is_stopped(
    tmp_path: Path, fake: FakeOpenFace, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fake.folder / "FaceLandmarkImg").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(openface_run, "TIMEOUT", 0.2)
    with pytest.raises(UserError, match=r"did not end within 0\.2 s; the same command goes on from here"):
        label_images(require_openface(fake.folder), photos, tmp_path / "work", quiet)
