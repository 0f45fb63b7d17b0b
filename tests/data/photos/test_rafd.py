"""RaFD: names as published, what is missing, and the build's errors through the command line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eggan.aus import EXPRESSIONS, GAZES
from eggan.data.dataset import Dataset, load_dataset
from eggan.data.photos import rafd
from eggan.data.photos.records import PhotoRecord, find_photographs
from eggan.data.photos.split import split_identities
from eggan.errors import UserError
from tests.data.published import MODELS, FakeOpenFace, rafd_name, write_image_labels, write_rafd


def records(models: int = rafd.MODELS, camera: str = "090") -> list[PhotoRecord]:
    """Return the published set without its files; numbers have gaps, as published."""
    numbers = [number for number in range(1, 74) if number not in (13, 17, 34, 50, 62, 66)][:models]
    names = [
        rafd_name((number, "Caucasian_male"), expression, gaze, camera)
        for number in numbers
        for expression in EXPRESSIONS
        for gaze in GAZES
    ]
    return [record for record in map(rafd.parse, names) if record is not None]


def test_a_published_name_tells_everything() -> None:
    record = rafd.parse("Rafd090_28_Caucasian_male_angry_frontal.jpg")
    assert record is not None
    assert (record.identity, record.expression, record.gaze) == ("rafd-28", "angry", "frontal")
    assert dict(record.extra) == {"camera": "090", "group": "Caucasian", "gender": "male"}


@pytest.mark.parametrize(
    ("name", "identity", "group", "camera"),
    [
        ("Rafd000_73_Moroccan_male_contemptuous_left.jpg", "rafd-73", "Moroccan", "000"),
        ("deep/folder/Rafd180_01_Kid_female_surprised_right.JPG", "rafd-01", "Kid", "180"),
        ("Rafd135_5_Caucasian_female_neutral_frontal.png", "rafd-05", "Caucasian", "135"),
    ],
)
def test_groups_cameras_and_folders(name: str, identity: str, group: str, camera: str) -> None:
    record = rafd.parse(name)
    assert record is not None
    assert (record.identity, record.extra["group"], record.extra["camera"]) == (identity, group, camera)
    assert record.source_file == name


@pytest.mark.parametrize(
    "name",
    [
        "Rafd090_74_Caucasian_male_angry_frontal.jpg",  # model numbers run to 73
        "Rafd090_00_Caucasian_male_angry_frontal.jpg",
        "Rafd091_28_Caucasian_male_angry_frontal.jpg",
        "Rafd090_28_Caucasian_male_bored_frontal.jpg",
        "Rafd090_28_Caucasian_male_angry_up.jpg",
        "Rafd090_28_Caucasian_male_angry_frontal_copy.jpg",
        "cropped_Rafd090_28_Caucasian_male_angry_frontal.jpg",
        "IMG_0001.jpg",
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert rafd.parse(name) is None


def test_the_published_set_is_complete() -> None:
    assert len(records()) == rafd.IMAGES == 1608
    assert rafd.report_counts(records(), ["090"]) == ""
    both = records() + records(camera="045")
    assert rafd.report_counts(both, ["045", "090"]) == ""


def test_missing_images_are_reported_by_identity_and_expression() -> None:
    there = [r for r in records() if (r.identity, r.expression, r.gaze) not in {
        ("rafd-01", "happy", "left"), ("rafd-01", "happy", "right"), ("rafd-73", "sad", "frontal"),
    }]  # fmt: skip
    assert rafd.report_counts(there, ["090"]).splitlines() == [
        "1605 images of 67 models, published are 1608 of 67",
        "  rafd-01 lacks happy (left, right)",
        "  rafd-73 lacks sad (frontal)",
    ]
    assert rafd.report_counts(records(66), ["090"]).startswith("1584 images of 66 models, published are 1608")


def test_a_missing_camera_is_reported() -> None:
    some = [r for r in records(camera="045") if r.identity != "rafd-01"]
    assert "rafd-01 lacks neutral (left 045, frontal 045" not in rafd.report_counts(records() + some, ["090"])
    text = rafd.report_counts(records() + some, ["045", "090"])
    assert "rafd-01 lacks neutral (left, frontal, right), angry" in text


def test_copies_and_too_many_models_are_no_choice_of_ours() -> None:
    copy = dataclasses.replace(records()[0], source_file="backup/" + records()[0].source_file)
    with pytest.raises(UserError, match=r"2 images neutral/left: are there copies"):
        rafd.report_counts([*records(), copy], ["090"])
    with pytest.raises(UserError, match="68 models, published are 67"):
        rafd.report_counts([*records(), dataclasses.replace(records()[0], identity="rafd-13")], ["090"])


def test_the_papers_split_is_58_to_9_seeded() -> None:
    people = [record.identity for record in records()]
    split = split_identities(people, rafd.TEST_MODELS, rafd.VALIDATION_MODELS, seed=0)
    counts = {part: sum(value == part for value in split.values()) for part in ("train", "val", "test")}
    assert counts == {"train": 52, "val": 6, "test": 9}
    assert split == split_identities(reversed(people), 9, 6, seed=0)
    assert split != split_identities(people, 9, 6, seed=1)


def test_files_of_other_cameras_are_passed_over_and_other_names_listed(tmp_path: Path) -> None:
    for name in (rafd_name(MODELS[0], "sad", "left"), rafd_name(MODELS[0], "sad", "left", "045"), "me"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / f"._{rafd_name(MODELS[0], 'sad', 'left')}.png")
    found, problems = rafd.read_rafd(find_photographs(tmp_path))
    assert [record.extra["camera"] for record in found] == ["090"]
    assert [problem.source_file for problem in problems] == ["me.jpg"]
    assert [r.extra["camera"] for r in rafd.read_rafd(find_photographs(tmp_path), ["045"])[0]] == ["045"]
    with pytest.raises(UserError, match="no camera '060'"):
        rafd.read_rafd(find_photographs(tmp_path), ["060"])
    with pytest.raises(UserError, match="no image of RaFD from camera 135"):
        rafd.read_rafd(find_photographs(tmp_path), ["135"])


@pytest.fixture
def tree(direct: Dataset, tmp_path: Path) -> Path:
    """A folder with RaFD (two models of 67), its OpenFace labels, and nothing else."""
    names = write_rafd(direct, tmp_path / "RaFD")
    write_image_labels(names, direct.aus(np.arange(len(names))), tmp_path / "csv")
    return tmp_path


def arguments(tree: Path, *more: object) -> list[object]:
    return ["data", "build", "rafd", "--root", tree / "RaFD", "--labels", tree / "csv", "--size", 64,
            "--align", "centre", "--val", 0, "--out", tree / "out", *more]  # fmt: skip


def first(tree: Path) -> Path:
    return tree / "RaFD" / f"{rafd_name(MODELS[0], 'angry', 'left')}.jpg"


def test_a_part_of_rafd_is_refused_without_permission(eggan, tree: Path) -> None:
    status, out, err = eggan(*arguments(tree))
    assert status == 2
    assert "lacks" not in out  # both models that are there are whole
    assert "48 images of 2 models, published are 1608 of 67: --allow-incomplete" in err
    assert not (tree / "out").exists()


def test_a_missing_expression_is_reported_and_the_rest_is_built(eggan, tree: Path) -> None:
    first(tree).unlink()
    status, out, err = eggan(*arguments(tree, "--allow-incomplete"))
    assert status == 0, err
    assert "  rafd-28 lacks angry (left)" in out
    assert "47 images, 64 px, people: 1 test, 1 train" in out
    info = load_dataset(tree / "out").info
    assert info["parameters"]["split"] == {"rafd-28": "train", "rafd-73": "test"} or info["parameters"][
        "split"
    ] == {"rafd-28": "test", "rafd-73": "train"}
    assert info["parameters"]["labels"] == "OpenFace of unknown version static"


def test_a_dry_run_tells_what_is_there_and_builds_nothing(eggan, tree: Path) -> None:
    (tree / "csv" / f"{first(tree).stem}.csv").unlink()
    status, out, _ = eggan(*arguments(tree, "--dry-run"))
    assert status == 0
    assert "48 images of 2 people" in out
    assert "labels of 47 of them: OpenFace of unknown version static" in out
    assert not (tree / "out").exists()


def listed(tree: Path) -> dict[str, str]:
    lines = (tree / "out.problems.csv").read_text().splitlines()[1:]
    return {Path(line.split(",")[0]).name: line.split(",", 1)[1] for line in lines}


def spoil_truncate(tree: Path) -> None:
    first(tree).write_bytes(first(tree).read_bytes()[:900])


def spoil_text(tree: Path) -> None:
    first(tree).write_text("not a photograph")


def spoil_label(tree: Path) -> None:
    (tree / "csv" / f"{first(tree).stem}.csv").unlink()


def spoil_faces(tree: Path) -> None:
    path = tree / "csv" / f"{first(tree).stem}.csv"
    head, row = path.read_text().splitlines()
    path.write_text("\n".join([head, row, row]) + "\n")


def spoil_link(tree: Path) -> None:
    away = tree / "away.jpg"
    first(tree).rename(away)
    first(tree).symlink_to(away)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_truncate, "may be truncated or damaged"),
        (spoil_text, "not an image that Pillow can read"),
        (spoil_label, "no row in the labels"),
        (spoil_faces, "OpenFace found several faces (2)"),
        (spoil_link, "leads out of"),
    ],
)
def test_what_cannot_be_used_is_listed_with_its_reason(eggan, tree: Path, spoil, reason: str) -> None:
    spoil(tree)
    people = ["--split", tree / "split.csv"]
    (tree / "split.csv").write_text("identity,split\nrafd-28,train\nrafd-73,test\n")
    status, out, err = eggan(*arguments(tree, "--allow-incomplete", *people))
    assert status == 0, err
    assert "47 images" in out
    assert list(listed(tree)) == [first(tree).name]
    assert reason in listed(tree)[first(tree).name]
    dataset = load_dataset(tree / "out")
    assert first(tree).name not in set(dataset.manifest["source_file"])
    assert dataset.info["parameters"]["problems"] == 1


def test_problems_stop_a_complete_build(tree: Path, monkeypatch: pytest.MonkeyPatch, eggan) -> None:
    monkeypatch.setattr(rafd, "report_counts", lambda records, cameras: "")
    spoil_truncate(tree)
    status, _, err = eggan(*arguments(tree))
    assert status == 2
    assert err.splitlines()[-1].startswith("eggan: 1 photograph or video cannot be used")
    assert "out.problems.csv" in err
    assert not (tree / "out").exists()


def test_a_wrong_name_is_listed(eggan, tree: Path) -> None:
    first(tree).rename(tree / "RaFD" / "angry.jpg")
    assert eggan(*arguments(tree, "--allow-incomplete"))[0] == 0
    assert listed(tree) == {"angry.jpg": "not a file name of RaFD"}


def test_no_other_folder_is_ever_replaced(eggan, tree: Path) -> None:
    status, _, err = eggan(*arguments(tree, "--allow-incomplete", "--out", tree / "RaFD"))
    assert status == 2
    assert "is there but is no dataset" in err
    assert first(tree).exists()


def test_an_equal_build_is_replaced_and_another_is_not(eggan, tree: Path) -> None:
    assert eggan(*arguments(tree, "--allow-incomplete"))[0] == 0
    before = load_dataset(tree / "out").content_hash
    first(tree).unlink()
    assert eggan(*arguments(tree, "--allow-incomplete"))[0] == 0
    assert load_dataset(tree / "out").content_hash != before
    for other in (["--seed", 5], ["--openface-version", "2.1.0"], ["--align", "dlib"]):
        status, _, err = eggan(*arguments(tree, "--allow-incomplete", *other))
        assert status == 2
        assert "other parameters" in err


def test_openface_labels_what_it_can_read(eggan, direct: Dataset, tree: Path) -> None:
    spoil_truncate(tree)
    photos = sorted((tree / "RaFD").iterdir())
    good = [path for path in photos if path != first(tree)]
    rows = np.array([photos.index(path) for path in good])
    fake = FakeOpenFace(tree / "bin")
    fake.answer_images(good, direct.aus(rows))
    fake.answer_image(first(tree), "unreadable")
    command = arguments(tree, "--allow-incomplete", "--openface", fake.folder)
    del command[5:7]  # --labels and its folder
    status, _, err = eggan(*command)
    assert status == 0, err
    built = load_dataset(tree / "out")
    assert (built.aus(np.arange(47)) == direct.aus(rows)).all()
    assert "may be truncated or damaged" in listed(tree)[first(tree).name]
    assert [count for _, count, _ in fake.calls()] == [32, *[1] * 32, 16]


def test_a_missing_root_and_both_sources_of_labels_are_user_errors(eggan, tree: Path) -> None:
    status, _, err = eggan("data", "build", "rafd", "--root", tree / "none", "--labels", tree / "csv")
    assert (status, err.count("\n")) == (2, 1)
    assert "no such folder" in err
    status, _, err = eggan(*arguments(tree, "--allow-incomplete", "--openface", tree))
    assert status == 2
    assert "contradict" in err
