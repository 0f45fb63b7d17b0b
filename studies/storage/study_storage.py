"""Where a study lives: a journal file in its folder, or a database that several machines share."""

import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file
from optuna.storages.journal._storage import JournalStorageReplayResult
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from eggan.errors import UserError
from eggan.files import drop_torn_line, is_writable, locked, waiting_lock
from eggan.progress import working
from eggan.tracking.address import first_line, without_password
from studies.study_config import StudySpec, read_spec

JOURNAL_FILE = "journal.log"
ADDRESS_FORM = "use postgresql://USER@HOST/DATABASE"
ADDRESS_VARIABLE = "EGGAN_STUDY_STORAGE"
STORAGE_ERRORS = (SQLAlchemyError, StorageInternalError)
CREATION_ATTEMPTS = 5  # two machines that create one schema at once break each other: the loser tries again
PREPARED_SECONDS = 30.0
# A connection that a restarted server dropped is noticed before it is used, and none becomes old.
ENGINE = {"pool_pre_ping": True, "pool_recycle": 1800}
# What Optuna raises on a line that is no entry, or one that does not fit those before.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class SystemLock(BaseJournalFileLock):
    """A lock on a file that the system frees when its holder dies.

    Optuna's own, a symbolic link, outlives a killed process: everybody then waits half a minute, or for ever
    where the journal's path is relative.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = waiting_lock(journal.with_name(f"{journal.name}.lock"))

    def acquire(self) -> bool:
        """Wait for the lock, then cut off what a killed writer left half-written."""
        self._lock.acquire()
        try:
            drop_torn_line(self._journal)  # nobody could read past it
        except BaseException:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """Free the lock."""
        self._lock.release()


def stored_address(url: str) -> str:
    """Return a database address without its password: this is written down, and compared."""
    return without_password(url, in_its_place="")


def check_address(url: str, workers: int) -> str:
    """Return the address with its driver named; one that cannot serve so many workers is a `UserError`."""
    scheme, sign, rest = url.partition("://")
    if not sign:
        raise UserError(f"{url!r} is not a storage address: {ADDRESS_FORM}")
    try:
        urlsplit(url).port  # noqa: B018  (reading it checks it)
    except ValueError as error:
        raise UserError(f"--storage is no address ({error}): {ADDRESS_FORM}") from None
    if scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    if scheme.startswith("sqlite") and workers > 1:
        raise UserError(
            "an sqlite storage is for one worker only: leave --storage out (the journal file serves many "
            "workers of one machine), or use postgresql://"
        )
    return url


def connect(folder: Path, url: str) -> BaseStorage:
    """Open the storage at `url`, or the journal in `folder` where it is empty; creates what is missing."""
    if not url:
        folder.mkdir(parents=True, exist_ok=True)
        return open_journal(folder.resolve() / JOURNAL_FILE)
    for attempt in range(CREATION_ATTEMPTS):
        try:
            return RDBStorage(url, engine_kwargs=ENGINE)
        except ImportError as error:
            hint = "install its driver, as in pip install 'eggan[postgresql]'"
            raise UserError(f"cannot use {stored_address(url)}: {hint} ({first_line(error)})") from None
        except (*STORAGE_ERRORS, ValueError) as error:
            if isinstance(error, OperationalError | ValueError) or attempt + 1 == CREATION_ATTEMPTS:
                raise unusable(url, error) from None
            time.sleep(1.0)
    raise AssertionError("unreachable")


def unusable(url: str, error: BaseException) -> UserError:
    """Return the message for a storage that does not work."""
    return UserError(f"cannot use the study storage {stored_address(url)}: {first_line(error)}")


def open_journal(path: Path) -> JournalStorage:
    """Open a study's journal; a damaged one is a `UserError` that names the line and what to do."""
    lock = SystemLock(path)
    if is_writable(path.parent):
        with get_lock_file(lock):  # the last writer may have been killed
            last = path.read_bytes().splitlines()[-1:] if path.exists() else []
    else:
        last = []
    try:
        for line in last:
            json.loads(line)  # Optuna reads over a bad last line, and stumbles over it once others follow
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except UNREADABLE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    """Return the message for a journal that Optuna cannot read: its first bad line, and how to go on."""
    lines = path.read_bytes().split(b"\n")[:-1]
    whole = _whole_lines(lines)
    if not whole:
        return UserError(f"{path} is not a study's journal: restore it, or move it away to begin anew")
    trials = path.parent / "trials"
    words = {name: shlex.quote(f"{place}") for name, place in (("it", path), ("trials", trials))}
    commands = [
        f"mv {words['it']} {words['it']}.damaged",
        f"head -n {whole} {words['it']}.damaged > {words['it']}",
        *([f"mv {words['trials']} {words['trials']}.damaged"] if trials.exists() else []),
    ]
    reason = f"is damaged at line {whole + 1} of {len(lines)} ({first_line(error)[:100]})"
    return UserError(
        f"{path} {reason}: restore it, or go on with the {whole} lines before it: {' && '.join(commands)}"
    )


def _whole_lines(lines: Sequence[bytes]) -> int:
    """Return how many lines from the start Optuna can read and apply."""
    study = JournalStorageReplayResult("")
    for number, line in enumerate(lines):
        try:
            study.apply_logs([json.loads(line)])
        except UNREADABLE:
            return number
    return len(lines)


def full_address(stored: str, given: str | None = None) -> str:
    """Return the address `stored` with its password, where `given` or the environment has one for it."""
    for candidate in (given, os.environ.get(ADDRESS_VARIABLE)):
        address = check_address(candidate, workers=1) if candidate else ""
        if address != stored and stored_address(address) == stored:
            return address
    return stored


def _file_of(url: str) -> Path | None:
    """Return the file of an sqlite database, as seen from here; None for a server's, or one in memory."""
    database = make_url(url).database if url.startswith("sqlite") else None
    return Path(database) if database and database != ":memory:" else None


def open_study(folder: Path, storage: str | None = None) -> optuna.Study:
    """Open the study of a folder (`runs/studies/NAME`); `storage` may give the database's address again.

    A password is never stored: PostgreSQL takes it from `storage`, EGGAN_STUDY_STORAGE, PGPASSWORD or
    ~/.pgpass. A study that is not there is a `UserError`.
    """
    spec = read_spec(folder)
    url = full_address(spec.storage, storage)
    file = _file_of(url) if url else Path(folder) / JOURNAL_FILE
    if file is not None and not file.exists():  # it would be made, empty, where somebody only looks
        raise UserError(f"{spec.name}: there is no {file}: bring it back, or run the study's command first")
    try:
        with working(f"opening the study {spec.name}"):
            return optuna.load_study(study_name=spec.name, storage=connect(Path(folder), url))
    except KeyError:
        raise UserError(f"the storage has no study {spec.name!r}: run the study's command first") from None
    except STORAGE_ERRORS as error:
        raise unusable(url, error) from None


def create_study(
    spec: StudySpec, folder: Path, url: str, references: dict[str, dict[str, Any]]
) -> optuna.Study:
    """Create the study, or open it where it exists; one with other settings is a `UserError`.

    `references` maps "paper" and "preset" to their parameters: the study's first trials.
    """
    with working(f"opening the study {spec.name}"), locked(folder / ".create.lock"):
        storage = connect(folder, url)
        try:
            study = optuna.create_study(
                study_name=spec.name, storage=storage, directions=spec.study.directions
            )
        except DuplicatedStudyError:
            study = optuna.load_study(study_name=spec.name, storage=storage)
            if url:
                _await_prepared(study)
        _check_identity(study, spec)
        if not study.user_attrs.get("prepared"):
            _prepare(study, spec, references)
        return study


def _await_prepared(study: optuna.Study) -> None:
    """Give another machine time to finish what it does first; it may also have died on the way."""
    deadline = time.monotonic() + PREPARED_SECONDS
    while not study.user_attrs.get("prepared") and time.monotonic() < deadline:
        time.sleep(0.5)


def _check_identity(study: optuna.Study, spec: StudySpec) -> None:
    known = study.user_attrs.get("identity", spec.identity)
    if known != spec.identity:
        raise UserError(
            f"the study {spec.name} has other settings, data or instruments than this command: "
            "choose another --name, or repeat its command exactly (the end of each run prints it)"
        )


def _prepare(study: optuna.Study, spec: StudySpec, references: dict[str, dict[str, Any]]) -> None:
    study.set_user_attr("identity", spec.identity)
    study.set_user_attr("spec", {**spec.plain(), "storage": ""})
    for label, params in references.items():
        study.enqueue_trial(params, user_attrs={"reference": label}, skip_if_exists=True)
    study.set_user_attr("prepared", True)


def set_trial_attr(study: optuna.Study, trial: FrozenTrial, name: str, value: Any) -> None:
    """Set a user attribute of a trial that runs elsewhere; Optuna's public way is its own process only."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


def set_trial_running(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Let a waiting trial run here; return whether nobody was quicker. Optuna's `ask` chooses by itself."""
    return bool(study._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING))
