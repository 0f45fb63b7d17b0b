"""The METHODS table: everything that a suite can run. Third parties add entries through `eggan.methods`.

An entry point of the group `eggan.methods` names a `MethodEntry`; its name must be new.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from baselines import ganimation, homointerpgan, references, stargan
from baselines.references import Reference
from benchmarks.suites import tuned_methods
from benchmarks.suites.ablated_methods import ablations_of
from eggan import model, warp
from eggan.errors import UserError
from eggan.method import MethodEntry

GROUP = "eggan.methods"
Entry = MethodEntry | Reference

METHODS: Mapping[str, Entry] = MappingProxyType(
    {
        "copy-source": references.COPY_SOURCE,
        "target-passthrough": references.TARGET_PASSTHROUGH,
        "mean-au": references.MEAN_AU,
        "oracle": references.ORACLE,
        "eggan": model.ENTRY,
        "eggan-w": warp.ENTRY,
        "stargan": stargan.ENTRY,
        "homointerpgan": homointerpgan.ENTRY,
        "ganimation": ganimation.ENTRY,
    }
)
ABLATIONS: Mapping[str, MethodEntry] = ablations_of(model.ENTRY)
# EGGAN under other settings: its tests hold for them, so METHODS, which the tests go through, does without.
OF_EGGAN: Mapping[str, MethodEntry] = MappingProxyType(
    {tuned_methods.NAME: tuned_methods.tuned_of(model.ENTRY), **ABLATIONS}
)


def all_methods() -> dict[str, Entry]:
    """Return METHODS, OF_EGGAN and installed packages' entries; a broken or doubled one is a `UserError`."""
    return {**METHODS, **OF_EGGAN, **{point.name: _load(point) for point in entry_points(group=GROUP)}}


def _load(point: EntryPoint) -> MethodEntry:
    if point.name in METHODS or point.name in OF_EGGAN:
        raise UserError(f"the package entry {point.value} redefines the method {point.name!r}")
    try:
        entry = point.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"the method {point.name!r} ({point.value}) cannot be loaded: {error}") from None
    if not isinstance(entry, MethodEntry) or entry.name != point.name:
        raise UserError(f"the method {point.name!r} ({point.value}) is not a MethodEntry of that name")
    return entry


def find_method(name: str, methods: Mapping[str, Entry]) -> Entry:
    """Return the entry called `name`; an unknown name is a `UserError` that lists the known ones."""
    if name not in methods:
        raise UserError(f"unknown method {name!r} (known: {', '.join(methods)})")
    return methods[name]
