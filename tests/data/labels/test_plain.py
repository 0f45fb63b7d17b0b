"""A user's own table of labels, and the keys by which labels find photographs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eggan.aus import AU_COLUMNS
from eggan.data.labels.plain import read_plain
from eggan.data.labels.read import read_labels
from eggan.data.labels.table import key_of, make_table, merge, unlabelled
from eggan.errors import UserError
from tests.data.published import write_table

AUS = np.round(np.random.default_rng(1).uniform(0, 5, (3, 17)), 3)
FILES = ["anna/1.jpg", "anna/2.jpg", "bert/1.v2.jpg"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "au.csv", FILES, AUS)


def test_a_table_is_read_with_its_further_columns(tmp_path: Path) -> None:
    columns = {
        "identity": ["a", "a", "b"],
        "tool": ["coder"] * 3,
        "version": ["FACS"] * 3,
        "confidence": ["0.5"] * 3,
    }
    found = read_labels(write_table(tmp_path / "au.csv", FILES, AUS, columns))
    assert found.origin == "coder FACS"
    assert (found.table[list(AU_COLUMNS)].to_numpy(float) == AUS).all()
    assert list(found.table["identity"]) == ["a", "a", "b"]
    assert set(found.table["confidence"]) == {0.5}
    assert found.find("bert/1.v2.jpg") == "bert/1.v2"
    assert found.find("bert/1.jpg") is None


def test_windows_paths_and_absolute_ones_find_their_row(table: Path) -> None:
    found = read_plain(table)
    assert found.find("anna\\2.png") == "anna/2"
    assert found.match("/home/me/photos/anna/2") == "anna/2"


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("a/b.jpg", "a/b"),
        ("./a/b.jpg", "a/b"),
        ("a/b.avi#7", "a/b#7"),
        ("a/b.v2.avi#12", "a/b.v2#12"),
        ("a/take#3b.jpg", "a/take#3b"),
        ("noending", "noending"),
    ],
)
def test_keys(file: str, key: str) -> None:
    assert key_of(file) == key


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",au12,", ",au11,", "lacks the column 'au12'"),
        ("au45", "au45,indentity", "the file is cut"),
        ("anna/2.jpg", "anna/1.png", "line 3: 'anna/1.png' is labelled twice"),
        ("anna/2.jpg", "", "line 3: the column 'file' is empty"),
        (f"{AUS[0][0]:.3f}", "nan", "line 2: au01 is nan"),
        (f"{AUS[0][0]:.3f}", "inf", "line 2: au01 is inf"),
        (f"{AUS[0][0]:.3f}", "", "line 2: au01 is '', not a number"),
        (f"{AUS[0][0]:.3f}", "6.5", "'anna/1' has au01 = 6.5, outside"),
        (f",{AUS[0][0]:.3f}", "", "the file is cut"),
    ],
)
def test_a_malformed_table_is_one_clear_line(table: Path, old: str, new: str, message: str) -> None:
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read_labels(table)
    assert "\n" not in str(caught.value)


def test_tools_versions_and_confidences(tmp_path: Path) -> None:
    mixed = write_table(tmp_path / "a.csv", FILES, AUS, {"tool": ["OpenFace", "me", "me"]})
    with pytest.raises(UserError, match="labels of tool 'OpenFace' and 'me' cannot be mixed"):
        read_plain(mixed)
    mixed = write_table(tmp_path / "b.csv", FILES, AUS, {"version": ["1", "", "1"]})
    with pytest.raises(UserError, match="labels of version '' and '1' cannot be mixed"):
        read_plain(mixed)
    sure = write_table(tmp_path / "c.csv", FILES, AUS, {"confidence": ["1", "1", "1.5"]})
    with pytest.raises(UserError, match=r"line 4: confidence is 1.5, outside \[0, 1\]"):
        read_plain(sure)


def test_a_misspelt_column_is_refused(tmp_path: Path) -> None:
    wrong = write_table(tmp_path / "a.csv", FILES, AUS, {"indentity": ["a", "b", "c"]})
    with pytest.raises(UserError, match="unknown column 'indentity'"):
        read_labels(wrong)


def test_a_header_alone_is_no_table(table: Path) -> None:
    table.write_text(table.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="a header and no row"):
        read_labels(table)


def test_tables_of_two_origins_never_merge() -> None:
    rows = pd.DataFrame(AUS, index=list("abc"), columns=list(AU_COLUMNS)).assign(confidence=1.0, problem="")
    one = make_table("OpenFace", "2.2", "static", rows, "here")
    for other in (("OpenFace", "2.1", "static"), ("OpenFace", "2.2", "dynamic"), ("me", "2.2", "static")):
        with pytest.raises(UserError, match="cannot be mixed: their scales differ"):
            merge([one, make_table(*other, unlabelled(["z"], "none"), "there")], "here")
    with pytest.raises(UserError, match="'a' is labelled twice"):
        merge([one, one], "here")


def test_a_table_of_some_aus_says_at_once_which_are_missing_and_who_measures_them(tmp_path: Path) -> None:
    """Datasets that people have coded hold 12 AUs or so."""
    table = tmp_path / "coded.csv"
    kept = [column for column in AU_COLUMNS if column not in ("au07", "au10", "au45")]
    table.write_text(",".join(["file", *kept]) + "\n" + ",".join(["a.jpg", *"1" * len(kept)]) + "\n")
    lacking = "lacks the column 'au07', and au10, au45: photographs need all 17 AUs, as OpenFace"
    with pytest.raises(UserError, match=lacking):
        read_labels(table)
