"""The METHODS table: everything that a suite can run. Third parties add entries through `eggan.methods`.

An entry point of the group `eggan.methods` names a `MethodEntry`; its name must be new.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from eggan.errors import UserError, known_names
from eggan.method import MethodEntry

if TYPE_CHECKING:
    from baselines.references import Reference
    from benchmarks.suites.shipped_methods import ShippedMethod

    Entry = MethodEntry | Reference | ShippedMethod

GROUP = "eggan.methods"


class Methods(Mapping[str, "Entry"]):
    """Entries by name, given as `module:attribute`; each is imported when it is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)

    def __getitem__(self, name: str) -> "Entry":
        return EntryPoint(name, self._places[name], GROUP).load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


METHODS = Methods(
    {
        "copy-source": "baselines.references:COPY_SOURCE",
        "target-passthrough": "baselines.references:TARGET_PASSTHROUGH",
        "mean-au": "baselines.references:MEAN_AU",
        "oracle": "baselines.references:ORACLE",
        "eggan": "eggan.model:ENTRY",
        "eggan-w": "eggan.warp:ENTRY",
        "eggan-w-unpaired": "eggan.warp_unpaired:ENTRY",
        "stargan": "baselines.stargan:ENTRY",
        "homointerpgan": "baselines.homointerpgan:ENTRY",
        "ganimation": "baselines.ganimation:ENTRY",
    }
)


@cache
def varied_methods() -> dict[str, MethodEntry]:
    """Return EGGAN under other settings, tuned and taught by true edits, and the ablations of our methods.

    These methods' tests hold for them, so METHODS, which the tests go through, does without.
    """
    from benchmarks.suites.ablated_methods import ablations_of
    from benchmarks.suites.pairs_method import PAIRS, with_pairs
    from benchmarks.suites.tuned_methods import NAME, tuned_of
    from eggan import model, warp

    of_eggan = {NAME: tuned_of(model.ENTRY), PAIRS: with_pairs(model.ENTRY)}
    return {**of_eggan, **ablations_of(model.ENTRY), **ablations_of(warp.ENTRY)}


@cache
def shipped_rows() -> "dict[str, ShippedMethod]":
    """Return the shipped weights, which suites score as they are."""
    from benchmarks.suites.shipped_methods import METHOD_OF, shipped_methods

    return shipped_methods(_entries(METHOD_OF.values()))


def _entries(names: Iterable[str]) -> dict[str, MethodEntry]:
    return {name: entry for name in names if isinstance(entry := METHODS[name], MethodEntry)}


def all_methods() -> "dict[str, Entry]":
    """Return METHODS, their variants and packages' entries; a broken or doubled one is a `UserError`."""
    others = {point.name: _load(point) for point in entry_points(group=GROUP)}
    return {**METHODS, **varied_methods(), **shipped_rows(), **others}


def installed_method(name: str) -> "Entry":
    """Return the entry called `name` of all that are installed; an unknown name is a `UserError`."""
    return METHODS[name] if name in METHODS else find_method(name, all_methods())


def _load(point: EntryPoint) -> MethodEntry:
    if point.name in {*METHODS, *varied_methods(), *shipped_rows()}:
        raise UserError(f"the package entry {point.value} redefines the method {point.name!r}")
    try:
        entry = point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"the method {point.name!r} ({point.value}) cannot be loaded: {error}") from None
    if not isinstance(entry, MethodEntry) or entry.name != point.name:
        raise UserError(f"the method {point.name!r} ({point.value}) is not a MethodEntry of that name")
    return entry


def find_method(name: str, methods: "Mapping[str, Entry]") -> "Entry":
    """Return the entry called `name`, or formerly called so; an unknown name is a `UserError` that lists the
    known ones.
    """
    if name not in methods:
        from benchmarks.suites.former_names import present_method

        name = present_method(name)
    if name not in methods:
        raise UserError(f"unknown method {name!r}{known_names(name, methods)}")
    return methods[name]
