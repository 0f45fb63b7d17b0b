"""Tables of others: what is read equals what pandas reads, and every other column is one line."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.pandas_compat
import pyarrow.parquet as pq
import pytest

from eggan.errors import UserError
from eggan.tables import PANDAS, read_csv_table, read_table, table_file, write_table

PLAIN = pd.DataFrame(
    {"name": ["a", None, "\u00e9"], "count": [1, 2, 3], "score": [0.5, float("nan"), -1.0], "is": [True] * 3}
)


class OtherPandas:
    """What pyarrow asks pandas for, of a pandas of another version."""

    version = "2.0.9"

    def __init__(self, own):
        self._own = own

    def __getattr__(self, name):
        return getattr(self._own, name)


def written(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def spoilt(path: Path) -> Path:
    """Write a table and put a byte that no UTF-8 has into its text."""
    pq.write_table(pa.table({"name": ["marker"] * 3}), path, compression="none", write_statistics=False)
    content = path.read_bytes()
    assert b"marker" in content
    path.write_bytes(content.replace(b"marker", b"m\xffrker"))
    return path


def test_what_pandas_wrote_is_read_as_pandas_reads_it(tmp_path):
    PLAIN.to_parquet(tmp_path / "t.parquet", index=False)
    read = read_table(tmp_path / "t.parquet", text=["name"], numbers=["count", "score"])
    pd.testing.assert_frame_equal(read, pd.read_parquet(tmp_path / "t.parquet"))


def test_categories_are_their_values(tmp_path):
    PLAIN.astype({"name": "category", "count": "category"}).to_parquet(tmp_path / "t.parquet", index=False)
    read = read_table(tmp_path / "t.parquet", text=["name"], numbers=["count", "score"])
    pd.testing.assert_frame_equal(read, PLAIN)


def test_columns_without_values_have_the_type_of_what_is_missing(tmp_path):
    path = written(tmp_path / "t.parquet", name=pa.nulls(2), score=pa.nulls(2))
    read = read_table(path, text=["name"], numbers=["score"])
    assert not read["name"].str.startswith("a").any()
    assert not (read["score"] < 1).any()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([["x"], ["y"]]), "t.parquet has lists in the column 'name'"),
        (pa.array([{"x": 1}, None]), "t.parquet has lists in the column 'name'"),
        (pa.array([True, False]), "the column 'name' holds bool, not text"),
        (pa.array([1, 2]), "the column 'name' holds int64, not text"),
        (pa.array([b"x", b"\xff"]), "the column 'name' holds binary, not text"),
        (pa.array([1, 2]).dictionary_encode(), "the column 'name' holds int64, not text"),
    ],
)
def test_columns_of_another_kind(tmp_path, column, message):
    with pytest.raises(UserError, match=message):
        read_table(written(tmp_path / "t.parquet", name=column), text=["name"])


def test_text_where_numbers_belong(tmp_path):
    with pytest.raises(UserError, match="'score' holds string, not numbers"):
        read_table(written(tmp_path / "t.parquet", score=pa.array(["x"])), numbers=["score"])


def test_a_column_that_must_be_there(tmp_path):
    path = written(tmp_path / "t.parquet", score=pa.array([1.0]))
    assert list(read_table(path, numbers=["score", "rank"], required=["score"])["score"]) == [1.0]
    with pytest.raises(UserError, match=r"t\.parquet lacks the column 'rank'"):
        read_table(path, required=["score", "rank"])


def test_a_column_twice(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet has the column 'a' twice"):
        read_table(tmp_path / "t.parquet")


def test_text_that_is_no_utf8(tmp_path):
    with pytest.raises(UserError, match=r"t\.parquet cannot be read: .*UTF8") as caught:
        read_table(spoilt(tmp_path / "t.parquet"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 64 + b"PAR1"])
def test_no_parquet_at_all(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet cannot be read"):
        read_table(tmp_path / "t.parquet")


TYPED = pd.DataFrame(
    {
        "name": ["a", "", 'b,"c"\n:d'],
        "count": [1, 2, -3],
        "score": [0.1, float("nan"), 1 / 3],
        "small": pd.Series([0.1, float("nan"), 1e-7], dtype="float32"),
        "is": [True, False, True],
        "may be": pd.array([True, pd.NA, False], dtype="boolean"),
    }
)


def test_without_pyarrow_a_table_is_csv_and_the_same_table_again(tmp_path, monkeypatch):
    monkeypatch.setattr("eggan.tables.find_spec", lambda name: None)
    written = write_table(TYPED, tmp_path / "t.parquet")
    assert written == table_file(tmp_path / "t.parquet") == tmp_path / "t.csv"
    pd.testing.assert_frame_equal(read_csv_table(written), TYPED, check_exact=True)
    with pytest.raises(ValueError, match="the column 'name' holds other things than text or numbers"):
        write_table(PLAIN, tmp_path / "t.parquet")


def test_equal_tables_are_equal_files_whatever_pandas_wrote_them(tmp_path, monkeypatch):
    frame = pd.DataFrame({"name": ["a", "b"], "value": [0.5, 1.5], "group": [1, 2]})
    other = tmp_path / "other.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(pyarrow.pandas_compat, "_pandas_api", OtherPandas(pyarrow.pandas_compat._pandas_api))
        frame.to_parquet(tmp_path / "theirs.parquet", index=False)
        write_table(frame, other)
    assert b"2.0.9" in (tmp_path / "theirs.parquet").read_bytes()
    ours = write_table(frame, tmp_path / "ours.parquet")
    assert ours.read_bytes() == other.read_bytes()
    if pd.__version__ == PANDAS:
        frame.to_parquet(tmp_path / "plain.parquet", index=False)
        assert ours.read_bytes() == (tmp_path / "plain.parquet").read_bytes()


def test_with_pyarrow_a_table_is_parquet(tmp_path):
    assert write_table(PLAIN, tmp_path / "t.parquet") == tmp_path / "t.parquet"
    pd.testing.assert_frame_equal(read_table(table_file(tmp_path / "t.parquet")), PLAIN)


@pytest.mark.parametrize("text", ["", "a:object\n1\n", "a\n1\n", "a:int64\nx\n", "a:int64,a:int64\n1,2\n"])
def test_csv_that_is_no_table_of_ours_is_one_line(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=r"t\.csv cannot be read: "):
        read_csv_table(tmp_path / "t.csv")


@pytest.mark.parametrize("first", [True, False])
def test_the_table_that_was_written_last_is_the_one_that_is_read(tmp_path, monkeypatch, first):
    """An environment has pyarrow and another has not: one form takes the other's place."""
    path = tmp_path / "t.parquet"
    for value, has in ((1, first), (2, not first)):
        monkeypatch.setattr("eggan.tables.find_spec", lambda _, has=has: has or None)
        wrote = write_table(pd.DataFrame({"score": [value]}), path)
    assert table_file(path) == wrote
    assert [file.name for file in tmp_path.iterdir()] == [wrote.name]
    read = read_table(wrote, numbers=["score"]) if wrote == path else read_csv_table(wrote)
    assert read["score"].tolist() == [2]
