"""The store that lies in a runs folder as an SQLite file, and goes where that folder goes.

MLflow writes absolute places of artifacts into the file; they are put right when the folder has been moved,
renamed or copied.
"""

import atexit
import hashlib
import importlib.util
import re
import shutil
import sqlite3
import tempfile
from contextlib import AbstractContextManager, closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from eggan.errors import UserError
from eggan.files import hash_files, is_writable, locked, write_atomically
from eggan.tracking.address import SQLITE

BUSY_SECONDS = 60  # how long a writer waits for another one's lock; SQLite's own default is 5
ARTIFACTS = "artifacts"
DATABASE = "mlflow.db"
JOURNALS = ("", "-wal", "-journal")  # SQLite's files: what is written stands in one of them
LOCK = ".store.lock"
QUOTED = re.compile(r"""["'](\w+)["']""")
TABLES = {"runs": ("run_uuid", "artifact_uri"), "logged_models": ("model_id", "artifact_location")}


def artifact_place(runs: Path) -> str:
    """Return the URI of the folder of a local store's artifacts."""
    return (runs / ARTIFACTS).resolve().as_uri()


def content_digest(runs: Path) -> str:
    """Return a sha256 over what a runs folder's own store holds: its file, and the scores of its runs.

    A file that cannot be read, or goes while it is read, is an `OSError`.
    """
    files = [Path(f"{runs / DATABASE}{ending}") for ending in JOURNALS]
    files = [path for path in files if path.exists() or path.name == DATABASE]
    files += sorted(path for path in (runs / ARTIFACTS).glob("*/artifacts/scores/*") if path.is_file())
    listed = [(path.relative_to(runs).as_posix(), hash_files([path])) for path in files]
    return hashlib.sha256(repr(listed).encode()).hexdigest()


def is_own(database: Path, runs: Path) -> bool:
    """Return whether a store's file is the runs folder's own."""
    return database.resolve().parent == runs.resolve()


def only_process(folder: Path) -> AbstractContextManager[None]:
    """Hold an exclusive lock: two processes that create one SQLite schema at once break each other."""
    return locked(folder / LOCK)


def create(database: Path) -> None:
    """Make a store's file with MLflow's tables; it appears whole or not at all.

    MLflow itself makes them one by one, and a store of which half was made is of no use to it.
    """
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    def write(staged: Path) -> None:
        engine = create_sqlalchemy_engine(f"{SQLITE}{staged.resolve()}")
        _initialize_tables(engine)
        engine.dispose()

    write_atomically(database, write)


def check_schema(database: Path) -> bool:
    """Return whether a file holds a store; a `UserError` where this MLflow does not read it as it is."""
    if not database.exists():
        return False
    try:
        mode = "rw" if is_writable(database) else "ro"  # a killed writer's transaction has to be undone first
        with closing(connect(database, mode)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            versions = (
                "SELECT version_num FROM alembic_version" if "alembic_version" in tables else "SELECT ''"
            )
            (found,) = next(connection.execute(versions), ("",))
    except sqlite3.Error as error:
        raise UserError(f"cannot use the tracking store {database}: {error}") from None
    expected = newest_schema()
    if not tables or found == expected:
        return bool(tables)
    if found and any(_migrations().glob(f"{found}_*.py")):
        remedy = f"keep a copy of it, then run `mlflow db upgrade {SQLITE}{database.resolve()}`"
    else:
        remedy = "open it with the MLflow that wrote it, or use another store"
    raise UserError(
        f"the tracking store {database} has another MLflow's tables (version {found or 'unknown'}, here is "
        f"{expected}): {remedy}"
    )


def newest_schema() -> str:
    """Return the version of the tables that this MLflow reads: the migration that no other one follows.

    Its files are read and not imported: MLflow takes most of the time of whatever is done with a store.
    """
    lines = [
        line
        for path in _migrations().glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("revision =", "down_revision ="))
    ]
    named, followed = (
        {version for line in lines if line.startswith(start) for version in QUOTED.findall(line)}
        for start in ("revision", "down")
    )
    (newest,) = named - followed
    return newest


def _migrations() -> Path:
    found = importlib.util.find_spec("mlflow")
    if found is None or found.origin is None:
        raise UserError("MLflow is not installed: results are tracked by it")
    return Path(found.origin).parent / "store" / "db_migrations" / "versions"


def connect(database: Path, mode: str) -> sqlite3.Connection:
    """Open a store's file: `rw` where it may be written to, else `ro`; a lock of another is waited for."""
    return sqlite3.connect(
        f"{database.resolve().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def private_copy(database: Path) -> Path:
    """Copy a store's file, whose folder cannot be written to, to a place of this process; return the copy."""
    folder = Path(tempfile.mkdtemp(prefix="eggan-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / database.name
    copy.write_bytes(database.read_bytes())
    return copy


def follow_move(database: Path, runs: Path, experiments: tuple[str, ...]) -> None:
    """Let these experiments and their runs name the artifacts that lie in `runs`, in one transaction.

    A run whose files lie only at the old place keeps it; so does one for which MLflow has another place.
    """
    place = artifact_place(runs)
    names = ", ".join("?" * len(experiments))
    with closing(connect(database, "rw")) as connection:
        query = f"SELECT experiment_id, artifact_location FROM experiments WHERE name IN ({names})"
        moved = [row for row in connection.execute(query, experiments) if _is_another(row[1], place)]
        if not moved:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number, old in moved:
                _move_rows(connection, number, old, place)
                update = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
                connection.execute(update, (place, number))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _is_another(location: str | None, place: str) -> bool:
    """Return whether a location is one that another runs folder's store gave."""
    ours = (location or "").startswith("file:///") and (location or "").endswith(f"/{ARTIFACTS}")
    return ours and location != place


def _move_rows(connection: sqlite3.Connection, experiment: int, old: str, new: str) -> None:
    for table, (key, column) in TABLES.items():
        rows = connection.execute(
            f"SELECT {key}, {column} FROM {table} WHERE experiment_id = ?", (experiment,)
        )
        for name, location in rows.fetchall():
            if not (location or "").startswith(f"{old}/"):
                continue
            moved = new + location.removeprefix(old)
            if path_of(location).exists() and not path_of(moved).exists():
                continue
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (moved, name))


def path_of(uri: str) -> Path:
    """Return the path of a `file:` URI."""
    return Path(unquote(urlsplit(uri).path))
