"""Parquet tables that this program did not necessarily write, checked before anything works with them."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from eggan.errors import UserError, one_line

if TYPE_CHECKING:  # both take a while to import
    import pandas as pd
    import pyarrow as pa


def read_table(path: Path, text: Collection[str] = (), numbers: Collection[str] = ()) -> "pd.DataFrame":
    """Return a parquet file's table; categories are read as their values.

    Of the columns in `text` and `numbers`, those that are there hold text and numbers; missing values are
    allowed. A damaged file, text that is not UTF-8, a column twice or one of lists is a `UserError`.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = _decoded(file.read())
        table.validate(full=True)  # pandas decodes text only once it is looked at
        table = _typed(table, text, numbers)
        _check_columns(table, path, text, numbers)
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
