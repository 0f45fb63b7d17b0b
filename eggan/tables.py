"""Tables in files: parquet that others may have written, checked before anything works with it.

An installation without pyarrow, such as that of a GPU node, keeps its tables as CSV in the place of parquet.
"""

import json
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from eggan.errors import UserError, one_line
from eggan.files import write_atomically

if TYPE_CHECKING:  # both take a while to import
    import pandas as pd
    import pyarrow as pa

CSV = ".csv"
TEXT = "text"  # a column's kind in CSV, where it is none of numpy's
PANDAS = "3.1.1"  # named in every file, whatever wrote it: datasets are known by the hash of their files
KINDS = ("int64", "int32", "float64", "float32", "bool", "boolean")  # the last one may lack values


def write_table(frame: "pd.DataFrame", path: Path) -> Path:
    """Write a table atomically and return its file: `path`, a parquet file, or where pyarrow is missing CSV.

    CSV has the same name with another ending, and the kind of each column in its heading: `score:float64`.
    """
    if find_spec("pyarrow") is not None:
        write_atomically(path, lambda staged: _write_parquet(frame, staged))
        path.with_suffix(CSV).unlink(missing_ok=True)  # an earlier table, of an installation without it
        return path
    headings = [f"{name}:{_kind(frame, name)}" for name in frame.columns]
    text = path.with_suffix(CSV)
    write_atomically(text, lambda staged: frame.to_csv(staged, index=False, header=headings))
    path.unlink(missing_ok=True)  # an earlier table, which `table_file` would prefer
    return text


def _write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write as pandas does, but for the version of pandas, which would change the hash of equal data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    notes = dict(table.schema.metadata)
    notes[b"pandas"] = json.dumps(json.loads(notes[b"pandas"]) | {"pandas_version": PANDAS}).encode()
    pq.write_table(table.replace_schema_metadata(notes), path)


def _kind(frame: "pd.DataFrame", name: str) -> str:
    kind = str(frame[name].dtype)
    if kind in KINDS:
        return kind
    if not all(isinstance(value, str) for value in frame[name]):
        raise ValueError(f"the column {name!r} holds other things than text or numbers")
    return TEXT


def table_file(path: Path) -> Path:
    """Return the file of a table that `write_table` was asked to write to `path`."""
    other = path.with_suffix(CSV)
    return other if other.is_file() and not path.is_file() else path


def read_csv_table(path: Path) -> "pd.DataFrame":
    """Return the table that `write_table` wrote as CSV, equal to the last bit; any other is a `UserError`."""
    import pandas as pd

    try:
        kinds = {heading: heading.rpartition(":")[2] for heading in pd.read_csv(path, nrows=0).columns}
        if unknown := sorted(set(kinds.values()) - {TEXT, *KINDS}):
            raise ValueError(f"a column of the kind {unknown[0]!r}")
        text = [heading for heading, kind in kinds.items() if kind == TEXT]
        missing = {heading: [""] for heading in kinds if heading not in text}
        types = {heading: "str" if kind == TEXT else kind for heading, kind in kinds.items()}
        table = pd.read_csv(
            path,
            dtype=types,
            na_values=missing,
            keep_default_na=False,
            float_precision="round_trip",
        )
    except Exception as error:  # on damaged files pandas raises anything
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    table.columns = pd.Index([heading.rpartition(":")[0] for heading in table.columns])
    return table


def read_table(
    path: Path,
    text: Collection[str] = (),
    numbers: Collection[str] = (),
    required: Collection[str] = (),
) -> "pd.DataFrame":
    """Return a parquet file's table; categories are read as their values.

    Of the columns in `text` and `numbers`, those that are there hold text and numbers; missing values are
    allowed. A damaged file, text that is not UTF-8, a column twice, one of lists or one of `required` that is
    not there is a `UserError`.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = _decoded(file.read())
        table.validate(full=True)  # pandas decodes text only once it is looked at
        table = _typed(table, text, numbers)
        _check_columns(table, path, text, numbers)
        if missing := [name for name in required if name not in table.column_names]:
            raise UserError(f"{path} lacks the column {missing[0]!r}")
        return table.to_pandas()
    except UserError:
        raise
    except Exception as error:  # on damaged files pyarrow raises anything
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None


def _decoded(table: "pa.Table") -> "pa.Table":
    """Return the table with plain values in the place of pandas' categories."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table


def _check_columns(table: "pa.Table", path: Path, text: Collection[str], numbers: Collection[str]) -> None:
    import pyarrow as pa

    seen: set[str] = set()
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if name in seen:
            raise UserError(f"{path} has the column {name!r} twice")
        seen.add(name)
        if pa.types.is_nested(kind):
            raise UserError(f"{path} has lists in the column {name!r}")
        if name in text and not _is_text(kind):
            raise UserError(f"{path}: the column {name!r} holds {kind}, not text")
        if name in numbers and not _is_number(kind):
            raise UserError(f"{path}: the column {name!r} holds {kind}, not numbers")


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _typed(table: "pa.Table", text: Collection[str], numbers: Collection[str]) -> "pa.Table":
    """Give columns without any value, which pandas writes as of any kind, that of what is missing in them."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        column = table.column(place)
        if column.null_count < len(column):
            continue
        if field.name in text and not _is_text(field.type):
            table = table.set_column(place, field.name, pa.nulls(len(column), pa.string()))
        elif field.name in numbers and not _is_number(field.type):
            table = table.set_column(place, field.name, pa.nulls(len(column), pa.float64()))
    return table
