"""Label tables as spreadsheets and other programs write them: read alike, or refused with the dialect."""

from pathlib import Path

import numpy as np
import pytest

from eggan.aus import AU_COLUMNS
from eggan.data.labels.csv_rows import read_rows
from eggan.data.labels.pyfeat import read_probabilities
from eggan.data.labels.read import read_labels
from eggan.data.photos.split import read_split
from eggan.errors import UserError
from tests.data.published import image_text, sequence_text, write_table

AUS = np.round(np.random.default_rng(1).uniform(0, 5, (3, 17)), 3)
FILES = ["anna/1.jpg", "anna/2.jpg", "bert/1.jpg"]


@pytest.fixture
def text(tmp_path: Path) -> str:
    return write_table(tmp_path / "plain.csv", FILES, AUS).read_text().replace("\r\n", "\n")


def decimal_commas(text: str, separator: str) -> str:
    head, *lines = text.splitlines()
    changed = [separator.join([line.split(",")[0], *(v.replace(".", ",") for v in line.split(",")[1:])])
               for line in lines]  # fmt: skip
    return "\n".join([head.replace(",", separator), *changed]) + "\n"


def with_index(text: str, name: str, first: int) -> str:
    head, *lines = text.splitlines()
    return "\n".join([f"{name},{head}", *(f"{n},{line}" for n, line in enumerate(lines, first))]) + "\n"


DIALECTS = {
    "semicolons and decimal commas": lambda t: decimal_commas(t, ";").encode(),
    "semicolons and points": lambda t: t.replace(",", ";").encode(),
    "tabs": lambda t: t.replace(",", "\t").encode(),
    "tabs and decimal commas": lambda t: decimal_commas(t, "\t").encode(),
    "bars": lambda t: t.replace(",", "|").encode(),
    "quoted decimal commas": lambda t: decimal_commas(t, '","').replace("\n", '"\n').replace(
        "file", '"file', 1).replace("anna", '"anna').replace("bert", '"bert').encode(),
    "sep line": lambda t: b"sep=;\r\n" + decimal_commas(t, ";").encode(),
    "quoted sep line and a mark": lambda t: b'\xef\xbb\xbf"sep=;"\n' + t.replace(",", ";").encode(),
    "byte order mark": lambda t: b"\xef\xbb\xbf" + t.encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "UTF-16 without a mark": lambda t: t.encode("utf-16-le"),
    "UTF-16, big end first": lambda t: t.encode("utf-16-be"),
    "UTF-16, tabs, decimal commas": lambda t: decimal_commas(t, "\t").encode("utf-16"),
    "blank lines": lambda t: t.replace("\n", "\n\n").encode() + b"\n \n,,,\n",
    "lines of separators": lambda t: (t.replace(",", ";") + ";" * 17 + "\n" + ";" * 17 + "\n").encode(),
    "an empty column at the end": lambda t: t.replace("\n", ",\n").encode(),
    "values with an empty column at the end": lambda t: t.replace("\n", ",\n").replace(
        "au45,\n", "au45\n").encode(),
    "old Mac's line ends": lambda t: t.replace("\n", "\r").encode(),
    "index of pandas": lambda t: with_index(t, "", 0).encode(),
    "index of R": lambda t: with_index(t, '""', 1).encode(),
    "index that was read again": lambda t: with_index(t, "Unnamed: 0", 0).encode(),
    "quotes and spaces": lambda t: t.replace("file,", '"file", ')
    .replace("bert/1.jpg", '"bert/1.jpg"').encode(),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_in_every_dialect_gives_the_same(tmp_path: Path, text: str, dialect: str) -> None:
    (tmp_path / "a.csv").write_bytes(DIALECTS[dialect](text))
    found = read_labels(tmp_path / "a.csv")
    assert list(found.table.index) == ["anna/1", "anna/2", "bert/1"]
    assert (found.table[list(AU_COLUMNS)].to_numpy(float) == AUS).all()


@pytest.mark.parametrize("change", [lambda t: decimal_commas(t, ";").encode(), lambda t: t.encode("utf-16")])
def test_openfaces_files_in_another_dialect(tmp_path: Path, change) -> None:
    for name, content in (("i", image_text(AUS[0])), ("s", sequence_text([AUS[0], None, AUS[1]]))):
        (tmp_path / "plain.csv").write_text(content)
        expected = read_labels(tmp_path / "plain.csv").table
        (tmp_path / f"{name}.csv").write_bytes(change(content))
        assert (read_labels(tmp_path / f"{name}.csv").table.to_numpy()[:, :17].astype(float) == pytest.approx(
            expected.to_numpy()[:, :17].astype(float), nan_ok=True))  # fmt: skip


def test_other_readers_take_the_dialects_too(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_bytes("\ufeffidentity;split\nanna;train\nbert;test\n;\n".encode())
    assert read_split(tmp_path / "split.csv") == {"anna": "train", "bert": "test"}
    (tmp_path / "feat.csv").write_text("FaceScore;AU01;AU12;input\n0,99;0,25;0,5;a.jpg\n")
    assert read_probabilities(tmp_path / "feat.csv").loc["a"].tolist() == [0.25, 0.5]


def doubled(text: str, column: str) -> str:
    return "\n".join(f"{line},{line.split(',')[text.split(chr(10))[0].split(',').index(column)]}"
                     for line in text.splitlines()) + "\n"  # fmt: skip


def test_a_column_twice_is_refused_by_every_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(doubled(text, "au12"))
    with pytest.raises(UserError, match=r"a\.csv has the column 'au12' twice"):
        read_labels(path)
    path.write_text(doubled(image_text(AUS[0]), "AU12_r"))
    with pytest.raises(UserError, match="the column 'AU12_r' twice"):
        read_labels(path)
    path.write_text("identity,split,split\nanna,train,test\n")
    with pytest.raises(UserError, match="the column 'split' twice"):
        read_split(path)
    path.write_text("FaceScore,AU01,AU01,input\n0.9,0.1,0.9,a.jpg\n")
    with pytest.raises(UserError, match="the column 'AU01' twice"):
        read_probabilities(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: decimal_commas(t, ",").encode(), "line 2: .* decimal commas need another separator"),
        (lambda t: t.replace("file,au01", "file;au01", 1).encode(), "by commas and semicolons: save it"),
        (lambda t: t.encode().replace(b"anna", b"\xe4nna"), "cannot be read as CSV: it is not UTF-8"),
        (lambda t: t.replace("anna/2", '"anna/2').encode(), "cannot be read as CSV: line"),
        (lambda t: with_index(t, "", 0).replace("1,anna", "0,anna").encode(), "first column has no name"),
        (lambda t: t.replace("au12", "AU12").encode(), "lacks the column 'au12' .it has 'AU12'"),
        (lambda t: t.replace(f"{AUS[0][0]:.3f}", "1_5").encode(), "line 2: au01 is '1_5', not a number"),
        (lambda t: t.encode() + b"\0\0", "it is not a text file"),
        (lambda t: b"", "is empty"),
        (lambda t: b"\n \n", "is empty"),
        (lambda t: b"sep=;\n", "is empty"),
    ],
)  # fmt: skip
def test_what_could_mean_two_things_is_one_clear_line(
    tmp_path: Path, text: str, change, message: str
) -> None:
    (tmp_path / "a.csv").write_bytes(change(text))
    with pytest.raises(UserError, match=message) as caught:
        read_labels(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


def test_messages_count_the_lines_of_the_file(tmp_path: Path, text: str) -> None:
    broken = text.replace("bert/1.jpg", "\n\nbert/1.jpg").replace(f"{AUS[2][0]:.3f}", "much")
    (tmp_path / "a.csv").write_text("sep=,\n" + broken)
    with pytest.raises(UserError, match="line 7: au01 is 'much'"):
        read_labels(tmp_path / "a.csv")


def test_rows_know_their_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("one;two\n1,5e-1; x \n")
    header, (row,) = read_rows(tmp_path / "a.csv")
    assert (header, dict(row), row.number("one")) == (["one", "two"], {"one": "1,5e-1", "two": "x"}, 0.15)
