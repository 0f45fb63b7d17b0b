"""Which suites there are to report; a name that none of them has may have been meant for another."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks.suites.former_names import FORMER_SUITES
from eggan.errors import UserError, known_names
from eggan.options import command

if TYPE_CHECKING:
    from eggan.tracking.read import Readable


def check_suite(name: str, ran: Iterable[str] = ()) -> None:
    """Raise a `UserError` for a name that no suite has, nor one of those that `ran`."""
    from benchmarks.suites.suite import SUITES  # brings torch, which only this mistake waits for

    known = list(dict.fromkeys([*ran, *SUITES]))
    if name not in known and name not in FORMER_SUITES:
        raise UserError(f"unknown suite {name!r}{known_names(name, known)}")


def no_runs_of(name: str, store: "Readable") -> UserError:
    """Return the mistake of asking for a suite that has no runs; that of an unknown name is raised."""
    tags = [*(cell.tags for cell in store.cells()), *store.suite_tags()]
    ran = sorted({values["suite"] for values in tags if values.get("suite")})
    check_suite(name, ran)
    line = command(f"bench run {FORMER_SUITES.get(name, name)}")
    there = f"it has some of {', '.join(ran)}" if ran else "it has none at all"
    return UserError(f"the tracking store holds no runs of suite {name!r}, {there}: run `{line}` first")
