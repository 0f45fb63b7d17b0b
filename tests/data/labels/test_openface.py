"""OpenFace's CSV files: every 2.x header, failures, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from eggan.aus import AU_COLUMNS
from eggan.data.labels.openface import NO_FACE, read_openface
from eggan.data.labels.read import read_labels
from eggan.errors import UserError
from tests.data.published import (
    IMAGE_HEAD,
    SEQUENCE_HEADS,
    au_texts,
    image_text,
    openface_text,
    sequence_text,
)

AUS = np.round(np.random.default_rng(0).uniform(0, 5, (4, 17)), 3)
VERSIONS = tuple(SEQUENCE_HEADS)


def values(table, key: str) -> np.ndarray:
    return table.table.loc[key, list(AU_COLUMNS)].to_numpy(float)


@pytest.mark.parametrize("version", VERSIONS)
def test_images_of_every_version(tmp_path: Path, version: str) -> None:
    (tmp_path / "a.csv").write_text(image_text(AUS[0], version))
    table = read_openface(tmp_path / "a.csv", version)
    assert (values(table, "a") == AUS[0]).all()
    assert table.table.at["a", "confidence"] == 0.975
    assert table.origin == f"OpenFace {version} static"


@pytest.mark.parametrize("pose", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_videos_of_every_version(tmp_path: Path, version: str, pose: bool) -> None:
    (tmp_path / "v.csv").write_text(sequence_text([AUS[0], None, AUS[2]], version, pose))
    table = read_openface(tmp_path, version)
    assert list(table.table.index) == ["v#0", "v#1", "v#2"]
    assert (values(table, "v#2") == AUS[2]).all()
    assert table.table.at["v#1", "problem"] == NO_FACE
    assert np.isnan(values(table, "v#1")).all()
    assert table.mode == "dynamic"
    assert read_openface(tmp_path, version, "static").mode == "static"


def test_the_byte_order_mark_and_the_windows_line_ends_of_other_programs(tmp_path: Path) -> None:
    text = "\ufeff" + image_text(AUS[0]).replace("\n", "\r\n")
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert (values(read_openface(tmp_path, "2.2"), "a") == AUS[0]).all()


def test_a_folder_keeps_its_folders_and_a_bare_name_finds_its_row(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "1.csv").write_text(image_text(AUS[0]))
    (tmp_path / "2.csv").write_text(image_text(AUS[1]))
    table = read_openface(tmp_path, "2.2")
    assert table.find("anna/1.jpg") == "anna/1"
    assert table.find("bert/2.png") == "2"
    assert table.find("bert/1.jpg") is None


def test_rows_of_zeros_are_failures_and_faces_without_movement_are_not(tmp_path: Path) -> None:
    zeros = ["0.00"] * 17
    (tmp_path / "failed.csv").write_text(openface_text([["0", "0.000", *zeros]], IMAGE_HEAD))
    (tmp_path / "still.csv").write_text(openface_text([["0", "0.950", *zeros]], IMAGE_HEAD))
    table = read_openface(tmp_path, "2.2").table
    assert table.at["failed", "problem"] == NO_FACE
    assert table.at["still", "problem"] == ""
    assert (table.loc["still", list(AU_COLUMNS)] == 0).all()


def test_a_failed_row_may_hold_anything(tmp_path: Path) -> None:
    row = ["1", "0", "0.04", "0.02", "0", *["0.77"] * 17]
    text = openface_text([row], SEQUENCE_HEADS["2.2"]).replace("0.77", "-nan(ind)", 1).replace("0.77", "9.00")
    assert "-nan(ind),9.00" in text
    (tmp_path / "v.csv").write_text(text)
    assert read_openface(tmp_path, "2.2").table.at["v#0", "problem"] == NO_FACE


def test_no_row_is_no_face_and_several_are_several(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text(openface_text([], IMAGE_HEAD))
    two = [[str(face), "0.9", *au_texts(AUS[face])] for face in range(2)]
    (tmp_path / "two.csv").write_text(openface_text(two, IMAGE_HEAD))
    table = read_openface(tmp_path, "2.2").table
    assert table.at["none", "problem"] == NO_FACE
    assert table.at["two", "problem"] == "OpenFace found several faces (2)"


def test_two_faces_in_a_frame(tmp_path: Path) -> None:
    head = SEQUENCE_HEADS["2.2"]
    rows = [["7", str(face), "0.28", "0.9", "1", *au_texts(AUS[face])] for face in range(2)]
    (tmp_path / "v.csv").write_text(openface_text(rows, head))
    assert read_openface(tmp_path, "2.2").table.at["v#6", "problem"] == "OpenFace found several faces"


def without(text: str, column: str) -> str:
    lines = [line.split(",") for line in text.splitlines()]
    place = lines[0].index(column)
    return "\n".join(",".join(line[:place] + line[place + 1 :]) for line in lines)


GOOD = image_text(AUS[0])
TEXT_OF_AU12 = f"{AUS[0][AU_COLUMNS.index('au12')]:.3f}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (without(GOOD, "AU12_r"), "a.csv lacks the column AU12_r"),
        (GOOD.replace(TEXT_OF_AU12, "nan"), "a.csv, line 2: AU12_r is nan"),
        (GOOD.replace(TEXT_OF_AU12, "5.01"), r"AU12_r is 5.01, outside \[0, 5\]"),
        (GOOD.replace(TEXT_OF_AU12, "-0.1"), r"AU12_r is -0.1, outside \[0, 5\]"),
        (GOOD.replace(TEXT_OF_AU12, "much"), "AU12_r is 'much', not a number"),
        (GOOD.rstrip()[:-40], "line 2: .* values under a header of .*: the file is cut"),
        ("time,value\n1,2\n", "holds no AU intensities.* it begins with 'time', 'value'"),
        ("filename,AU1,AU2\na,2,3\n", "a table with file, au01, .* begins with 'filename', 'AU1', 'AU2'"),
        (sequence_text([AUS[0]]).replace("\n1,", "\n0,"), "frame is 0: OpenFace counts frames from 1"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_labels(tmp_path / "a.csv")


def test_modes_never_mix(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(image_text(AUS[0]))
    (tmp_path / "v.csv").write_text(sequence_text([AUS[0]]))
    with pytest.raises(UserError, match=r"dynamic and of OpenFace 2\.2 static cannot be mixed"):
        read_openface(tmp_path, "2.2")
    with pytest.raises(UserError, match="single image: OpenFace's mode was static"):
        read_openface(tmp_path / "a.csv", "2.2", "dynamic")


def test_a_foreign_file_among_openfaces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(image_text(AUS[0]))
    (tmp_path / "b.csv").write_text("file,au01\nx,1\n")
    with pytest.raises(UserError, match=r"b.csv is not a CSV of OpenFace"):
        read_labels(tmp_path)


def test_missing_places_and_kinds(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such label file or folder"):
        read_labels(tmp_path / "none")
    with pytest.raises(UserError, match="holds no CSV file"):
        read_labels(tmp_path)
    (tmp_path / "a.csv").write_text(GOOD)
    with pytest.raises(UserError, match="holds labels of kind openface, not csv"):
        read_labels(tmp_path / "a.csv", "csv")
    assert read_labels(tmp_path / "a.csv").version == "of unknown version"
