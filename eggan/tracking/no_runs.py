"""What is said where no runs are tracked, and what to do about it."""

from pathlib import Path

from eggan.errors import UserError
from eggan.options import command
from eggan.tracking.record import RECORD_FILE


class NoRuns(UserError):
    """There is no store, or nothing to ship to one."""


def no_runs(place: Path, runs: Path, suite: str | None = None) -> NoRuns:
    """Return the mistake of asking for tracked runs at `place`, where there are none.

    Those that lie in the folder `runs` wait to be shipped; without any, `suite` is what to run first.
    """
    if has_runs(runs):
        return NoRuns(f"no tracked runs at {place}: `{command('bench sync')}` ships those that lie in {runs}")
    line = command(f"bench run {suite or 'quick'}")
    return NoRuns(f"no tracked runs at {place}: run `{line}` first")


def has_runs(folder: Path) -> bool:
    """Return whether the record of a run lies below a folder."""
    return next(folder.rglob(RECORD_FILE), None) is not None
