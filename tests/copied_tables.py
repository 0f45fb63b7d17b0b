"""MLflow's tables are made once per test process: its seventy migrations take a second of every new store."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture(scope="session", autouse=True)
def tables_are_made_once() -> Iterator[None]:
    """Give every new store of this process a copy of the tables that MLflow made for the first one.

    Tests that track nothing load no MLflow and are left alone, and so are processes that tests start.
    """
    if "eggan.tracking" not in sys.modules:
        yield
        return
    from mlflow.store.db import utils

    migrate = utils._upgrade_db

    def upgrade(engine: "Engine") -> None:
        assert engine.url.get_backend_name() == "sqlite"
        if not _has_tables(made):
            migrate(engine)
            with engine.connect() as connection:
                connection.connection.dbapi_connection.backup(made)
            return
        with engine.connect() as connection:
            assert not _has_tables(connection.connection.dbapi_connection)
            made.backup(connection.connection.dbapi_connection)

    memory = sqlite3.connect(":memory:", check_same_thread=False)
    with closing(memory) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_upgrade_db", upgrade)
        yield


def _has_tables(database: sqlite3.Connection) -> bool:
    """Return whether MLflow's migrations have been run on a database."""
    found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'")
    return bool(found.fetchone()[0])
