"""What the report of a suite is made of, as one digest: a frame, and the code that lays it out."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.style.report_record import code_digest
from reports.suite.frame import TABLES, Frame


def inputs_digest(frame: Frame) -> str:
    """Return a sha256 that differs where anything differs that the report of a frame can depend on."""
    digest = hashlib.sha256(code_digest().encode())
    for name in TABLES:
        digest.update(f"table {name}\n".encode())
        for part in _column_parts(getattr(frame, name)):
            digest.update(part)
    for run_id in sorted(frame.showcases):
        digest.update(f"showcase {run_id}\n".encode())
        for part in _array_parts(frame.showcases[run_id]):
            digest.update(part)
    digest.update(json.dumps(frame.instruments, sort_keys=True, default=repr).encode())
    return digest.hexdigest()


def _column_parts(table: pd.DataFrame) -> list[bytes]:
    """Return the bytes of a table, column by column; two tables that differ have different ones."""
    parts = [f"{len(table)} rows\n".encode()]
    for name, column in table.items():
        numbers = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"
        content = column.to_numpy().tobytes() if numbers else repr(column.tolist()).encode()
        parts += [f"{name!r} {column.dtype} {len(content)}\n".encode(), content]
    return parts


def _array_parts(arrays: Mapping[str, np.ndarray]) -> list[bytes]:
    parts = []
    for name, values in sorted(arrays.items()):
        parts += [f"{name!r} {values.dtype} {values.shape}\n".encode(), values.tobytes()]
    return parts
