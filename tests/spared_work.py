"""What a test process spares and users do not: waiting for the disk, and looking for old garbage."""

import gc
import os
import sqlite3
from collections.abc import Iterator

import pytest

YOUNG_OBJECTS = 20_000  # between two searches for garbage; 700 without this


def spare_old_garbage() -> None:
    """Look for garbage among what tests make, not again and again among a million objects of libraries."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Files need not outlive a power cut; a killed process leaves the same with or without."""
    from sqlalchemy import Engine, event

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        event.listen(Engine, "connect", _wait_for_nothing)
        yield
        event.remove(Engine, "connect", _wait_for_nothing)


def _wait_for_nothing(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
