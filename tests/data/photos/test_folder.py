"""Folders of photographs: who is on which, what labels must fit, and paths that stay inside."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eggan.aus import AU_COLUMNS
from eggan.data.dataset import load_dataset
from eggan.data.photos.records import inside, read_photo
from eggan.data.photos.split import read_split, split_identities
from eggan.errors import UserError
from eggan.faces.find import find_faces
from tests.data.published import FakeOpenFace, image_text, write_table
from tests.faces.pictures import eyes_in, with_faces

PEOPLE = ("anna", "bert", "carl")
FILES = [f"{person}/{number}.png" for person in PEOPLE for number in range(2)]
AUS = np.round(np.random.default_rng(5).uniform(0, 5, (6, 17)), 3)
IMAGES = np.random.default_rng(6).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file, image in zip(FILES, IMAGES, strict=True):
        (tmp_path / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / file)
    return tmp_path / "photos"


def arguments(root: Path, labels: Path | None, *more: object) -> list[object]:
    labelled = [] if labels is None else ["--labels", labels]
    return ["data", "build", "folder", "--root", root, *labelled, "--size", 64, "--align", "none",
            "--out", root.parent / "out", *more]  # fmt: skip


def build(eggan, root: Path, labels: Path | None, *more: object) -> pd.DataFrame:
    status, _, err = eggan(*arguments(root, labels, *more))
    assert status == 0, err
    return load_dataset(root.parent / "out").manifest


def refused(eggan, root: Path, labels: Path | None, *more: object) -> str:
    status, _, err = eggan(*arguments(root, labels, *more))
    assert status == 2
    assert not (root.parent / "out").exists()
    return err.splitlines()[-1]


def test_the_folders_name_is_the_person(eggan, root: Path, tmp_path: Path) -> None:
    manifest = build(eggan, root, write_table(tmp_path / "au.csv", FILES, AUS))
    assert list(manifest["identity"]) == [name for name in PEOPLE for _ in range(2)]
    assert sorted(manifest.groupby("split")["identity"].nunique().items()) == [
        ("test", 1),
        ("train", 1),
        ("val", 1),
    ]
    assert set(manifest["expression"]) == {"unlabelled"}
    assert (manifest[list(AU_COLUMNS)].to_numpy() == AUS).all()
    assert (np.array(load_dataset(tmp_path / "out").images) == IMAGES).all()


def test_columns_tell_person_expression_gaze_and_split(eggan, root: Path, tmp_path: Path) -> None:
    columns = {
        "identity": ["x", "x", "y", "y", "", ""],
        "expression": ["happy", "neutral", "sad", "", "", "angry"],
        "gaze": ["left", "", "", "right", "frontal", ""],
        "split": ["train", "train", "test", "test", "val", "val"],
    }
    manifest = build(eggan, root, write_table(tmp_path / "au.csv", FILES, AUS, columns))
    assert list(manifest["identity"]) == ["x", "x", "y", "y", "carl", "carl"]
    assert list(manifest["expression"]) == ["happy", "neutral", "sad", "unlabelled", "unlabelled", "angry"]
    assert list(manifest["gaze"][:2]) == ["left", "unlabelled"]
    assert list(manifest["split"]) == columns["split"]


def test_openface_labels_any_folder(eggan, root: Path, tmp_path: Path) -> None:
    fake = FakeOpenFace(tmp_path / "bin")
    fake.answer_images([root / file for file in FILES], AUS)
    manifest = build(eggan, root, None, "--openface", fake.folder, "--openface-version", "2.2.0")
    assert (manifest[list(AU_COLUMNS)].to_numpy() == AUS).all()
    assert manifest["label_version"].str.fullmatch(r"2\.2\.0 \([0-9a-f]{12}\) static").all()
    assert fake.calls() == [["FaceLandmarkImg", 6, False]]


def test_openfaces_files_without_folders_cannot_tell_equal_names_apart(
    eggan, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "csv").mkdir()
    for number in range(2):
        (tmp_path / "csv" / f"{number}.csv").write_text(image_text(AUS[number]))
    assert "'anna/0.png' and 'bert/0.png' would share the label row '0'" in refused(
        eggan, root, tmp_path / "csv"
    )


def test_a_label_without_photograph_and_a_photograph_without_label_are_listed(
    eggan, root: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "au.csv", [*FILES[:5], "carl/9.png"], AUS)
    assert "2 photographs or videos cannot be used" in refused(eggan, root, table)
    assert (tmp_path / "out.problems.csv").read_text().splitlines()[1:] == [
        "carl/9.png,no image file of that name",
        "carl/1.png,no row in the labels",
    ]
    assert len(build(eggan, root, table, "--allow-incomplete")) == 5
    status, out, _ = eggan(*arguments(root, table, "--dry-run"))
    assert status == 0
    assert "labels of 5 of them: table" in out
    assert out.splitlines()[-1] == "people: 1 test, 1 train, 1 val"


@pytest.mark.parametrize(
    ("extra", "more", "message"),
    [
        ({"split": ["training"] * 6}, (), "unknown split 'training': did you mean train?"),
        ({"split": ["train", "test"] * 3}, (), "'anna' is in the splits 'train' and 'test'"),
        ({"identity": ["anna"] * 6}, (), "1 people cannot give"),
        ({"identity": ["anna", "Anna"] * 3}, (), "'Anna' and 'anna' differ in letter case only"),
        ({}, ("--test", 3), "3 people cannot give 3 for testing"),
    ],
)
def test_a_dry_run_refuses_the_people_and_splits_that_the_build_would(
    eggan, root: Path, tmp_path: Path, extra, more, message
) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    pd.read_csv(table).assign(**extra).to_csv(table, index=False)
    refusal = refused(eggan, root, table, *more)
    assert message in refusal
    assert refused(eggan, root, table, *more, "--dry-run") == refusal


def test_a_build_without_problems_removes_the_old_list(eggan, root: Path, tmp_path: Path) -> None:
    (tmp_path / "out.problems.csv").write_text("source_file,reason\nold.jpg,broken\n")
    build(eggan, root, write_table(tmp_path / "au.csv", FILES, AUS))
    assert not (tmp_path / "out.problems.csv").exists()


def test_one_size_and_one_face(eggan, root: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 64)).save(root / FILES[0])
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    assert "80 x 64 pixels, not 64 x 64" in refused(eggan, root, table)
    assert (
        "no photograph of folder can be used: 6 photographs or videos cannot be used (6 x no face)"
        in refused(eggan, root, table, "--align", "dlib", "--allow-incomplete")
    )


def test_faces_are_aligned_by_default_and_by_the_former_word(eggan, root: Path, tmp_path: Path) -> None:
    for number, file in enumerate(FILES):
        photograph = with_faces(240, 320, [(30 + 10 * number, 20, 150)])
        Image.fromarray(photograph).save(root / file)
    command = ["data", "build", "folder", "--root", root, "--labels"]
    command += [write_table(tmp_path / "au.csv", FILES, AUS), "--size", 64, "--out"]
    assert eggan(*command, tmp_path / "default")[0] == 0
    built = load_dataset(tmp_path / "default")
    assert built.info["parameters"]["align"] == "face"
    for image in built.images:
        assert np.abs(find_faces(np.array(image))[0].eyes - eyes_in((0, 0, 64))).max() < 1
    assert eggan(*command, tmp_path / "former", "--align", "dlib")[0] == 0
    former = load_dataset(tmp_path / "former")
    assert former.info["parameters"] == built.info["parameters"]
    assert former.content_hash == built.content_hash


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../au.png", "'../au.png' leads out of"),
        ("anna/../../away.png", "leads out of"),
        ("/etc/passwd", "leads out of"),
        ("..\\away.png", "leads out of"),
    ],
)
def test_labels_that_name_a_file_outside_are_refused(
    eggan, root: Path, tmp_path: Path, file: str, message: str
) -> None:
    Image.fromarray(IMAGES[0]).save(tmp_path / "away.png")
    table = write_table(tmp_path / "au.csv", [*FILES[:5], file], AUS)
    assert message in refused(eggan, root, table)


def test_a_link_out_of_the_root_is_refused(eggan, root: Path, tmp_path: Path) -> None:
    (root / FILES[0]).rename(tmp_path / "away.png")
    (root / FILES[0]).symlink_to(tmp_path / "away.png")
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    assert "'anna/0.png' is a link that leads out of" in refused(eggan, root, table)
    (root / FILES[0]).unlink()
    (root / FILES[0]).symlink_to(root / FILES[1])  # a link inside is a photograph
    assert inside(root, FILES[0]) == (root / FILES[1]).resolve()


@pytest.mark.parametrize("place", ["me.png", "group/anna/me.png"])
def test_a_photograph_without_a_person_is_refused(eggan, root: Path, tmp_path: Path, place: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGES[0]).save(root / place)
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    assert f"{place}: whose face is it?" in refused(eggan, root, table)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("expression", "bored", "anna/0.png: unknown expression 'bored'"),
        ("gaze", "up", "anna/0.png: unknown gaze 'up'"),
        ("split", "training", "anna/0.png: unknown split 'training'"),
    ],
)
def test_unknown_words_are_refused(
    eggan, root: Path, tmp_path: Path, column: str, value: str, message: str
) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS, {column: [value] * 6})
    assert message in refused(eggan, root, table)


def test_a_person_in_two_splits_is_refused(eggan, root: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS, {"split": ["train", "test"] * 3})
    assert "'anna' is in the splits 'train' and 'test'" in refused(eggan, root, table)


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_two_photographs_of_one_label_are_refused(eggan, root: Path, tmp_path: Path, more) -> None:
    Image.fromarray(IMAGES[0]).save(root / "anna" / "0.bmp")
    message = refused(eggan, root, write_table(tmp_path / "au.csv", FILES, AUS), *more)
    assert "'anna/0.bmp' and 'anna/0.png' would share the label row 'anna/0'" in message


def test_a_dry_run_tells_whom_a_split_does_not_name(eggan, root: Path, tmp_path: Path) -> None:
    table, split = write_table(tmp_path / "au.csv", FILES, AUS), tmp_path / "split.csv"
    split.write_text("identity,split\nanna,train\nbert,test\nzoe,val\n")
    status, out, _ = eggan(*arguments(root, table, "--split", split, "--dry-run"))
    assert status == 0
    assert out.splitlines()[-2:] == [
        "people: 1 test, 1 train",
        "not in the split, so the build would not take them: carl",
    ]
    split.write_text("identity,split\nzoe,train\n")
    for more in ((), ("--allow-incomplete",)):
        refused(eggan, root, table, "--split", split, *more)
    message = refused(eggan, root, table, "--split", split, "--dry-run")
    assert "the split names none of the 3 people here, such as anna" in message


@pytest.mark.parametrize("name", ["synfacs-mine", "../mine", "a/b", ""])
def test_names_that_mislead_are_refused(eggan, root: Path, tmp_path: Path, name: str) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    assert "use letters, digits, - and _" in refused(eggan, root, table, "--name", name)


def test_an_empty_folder_and_too_few_people(eggan, root: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    (tmp_path / "empty").mkdir()
    assert "holds no image file" in eggan(*arguments(tmp_path / "empty", table))[2]
    assert "3 people cannot give 2 for testing, 1 for validation" in refused(eggan, root, table, "--test", 2)
    assert len(build(eggan, root, table, "--test", 0, "--val", 0)) == 6


def test_openface_is_asked_for_where_labels_are_missing(
    eggan, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "OpenFace is not here" in refused(eggan, root, None)
    assert "pass labels that are there already with --labels" in refused(eggan, root, None)


def test_splits_from_a_file(eggan, root: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "au.csv", FILES, AUS)
    split = tmp_path / "split.csv"
    split.write_text("identity,split\nanna,train\nbert,test\n")
    assert "2 x the split does not name carl" in refused(eggan, root, table, "--split", split)
    manifest = build(eggan, root, table, "--split", split, "--allow-incomplete")
    assert dict(manifest[["identity", "split"]].drop_duplicates().to_numpy()) == {
        "anna": "train",
        "bert": "test",
    }
    for text, message in (
        ("who,split\nanna,train\n", "needs the columns identity and split"),
        ("identity,split\nanna,learn\n", "unknown split 'learn'"),
        ("identity,split\nanna,train\nanna,test\n", "'anna' is in two splits"),
    ):
        split.write_text(text)
        with pytest.raises(UserError, match=message):
            read_split(split)
    with pytest.raises(UserError, match="no such label file"):
        read_split(tmp_path / "none.csv")


def test_the_seeded_split_does_not_depend_on_the_order() -> None:
    names = [f"p{number}" for number in range(20)]
    split = split_identities(names, 3, 2, seed=4)
    assert split == split_identities(reversed(names), 3, 2, seed=4)
    assert sorted(split.values()) == ["test"] * 3 + ["train"] * 15 + ["val"] * 2
    assert split != split_identities(names, 3, 2, seed=5)


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    tall = Image.fromarray(np.tile(IMAGES[0], (2, 1, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    tall.save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").shape == (64, 128, 3)
