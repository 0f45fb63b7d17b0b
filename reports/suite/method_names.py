"""What the methods of a report are called, their order and kind, and the colour of each in every figure.

Methods that come with the project are listed here. Any other one, such as a row that `eggan bench run --add`
put into a suite, has the title that its runs recorded and a spare colour.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from benchmarks.suites import tuned_methods
from benchmarks.suites.ablated_methods import UNPAIRED, VARIANTS
from reports.style.table import Kind

OUR_METHOD = "eggan"
COPY, PASSTHROUGH, ORACLE = "copy-source", "target-passthrough", "oracle"
# Order is the order of rows in every table: references that bound the problem, then methods.
METHOD_TITLES: Mapping[str, str] = {
    COPY: "Copy source",
    "mean-au": "Mean AU",
    PASSTHROUGH: "Target passthrough",
    "homointerpgan": "HomoInterpGAN",
    "stargan": "StarGAN",
    "ganimation": "GANimation",
    OUR_METHOD: "EGGAN",
    "eggan-w": "EGGAN-W",
    "eggan-w-wide": "EGGAN-W (wide)",
    UNPAIRED.name: "EGGAN-W (no true edits)",
    "eggan-shipped": "EGGAN (shipped)",
    "eggan-w-shipped": "EGGAN-W (shipped)",
    tuned_methods.NAME: tuned_methods.TITLE,
    **{variant.name: variant.title for variant in VARIANTS},
    ORACLE: "Oracle (rendered truth)",
}
ABLATIONS = tuple(variant.name for variant in VARIANTS)
REFERENCES = (COPY, "mean-au", PASSTHROUGH, ORACLE)
# Okabe and Ito's palette: told apart with every common colour vision. Fixed per method: figures agree.
PALETTE: Mapping[str, str] = {
    "eggan": "#0072B2",
    "eggan-w": "#56B4E9",
    "eggan-w-wide": "#00003C",
    "eggan-w-unpaired": "#A00078",
    "eggan-shipped": "#A6D8F0",
    "eggan-w-shipped": "#00C2D1",
    "stargan": "#E69F00",
    "homointerpgan": "#009E73",
    "ganimation": "#CC79A7",
    "copy-source": "#9AA5B1",
    "mean-au": "#616E7C",
    "target-passthrough": "#D55E00",
    "oracle": "#323F4B",
    "eggan-tuned": "#332288",  # from here on Tol's muted scheme; no suite has ablations beside the baselines
    "eggan-wtp": "#CC6677",
    "eggan-wti": "#DDCC77",
    "eggan-wts": "#117733",
    "eggan-no-dz": "#88CCEE",
    "eggan-no-dimg": "#882255",
    "eggan-l1-only": "#44AA99",
    "eggan-unrounded": "#AA4499",
    "eggan-w-no-flow": "#F050F0",  # far from EGGAN-W, the references, each other and the spare colours
    "eggan-w-no-colour": "#00A000",
    "eggan-w-no-disturbance": "#F0C800",
    "eggan-w-unweighted": "#780000",
    "eggan-w-no-gradient": "#F00078",
    "eggan-w-no-ssim": "#500078",
    "eggan-w-no-features": "#002D00",
    "eggan-w-free": "#F0A078",
}
# Each as far as can be, in Oklab, from those above and before it.
SPARE_COLOURS = ("#4BD22D", "#8769FF", "#FFA5FF", "#874B00", "#781EC3", "#1EF0B4", "#968700", "#1E3CD2")
FEWER = re.compile(r"-(\d+)-people$")  # end of the name of a row that learns from fewer people
PALER = 0.75  # of the way to white: the colour of the row with the fewest people; the others lie between
SHORT = 24  # characters of a title that a legend has room for


def method_title(method: str) -> str:
    """Return the display name of a method; one that is not listed keeps its own name."""
    return METHOD_TITLES.get(method, method)


def short_title(method: str) -> str:
    """Return the name of a method for legends and panels: an ablation's without what it lacks."""
    return next((variant.short for variant in VARIANTS if variant.name == method), method_title(method))


def method_kind(method: str) -> Kind:
    """Return whether a row is a trained method or a reference without training."""
    return "reference" if method in REFERENCES else "method"


def full_method(method: str) -> str:
    """Return the row that learns from all people, of one that learns from fewer, such as eggan-52-people."""
    return FEWER.sub("", method)


def method_rank(method: str) -> tuple[int, int, str]:
    """Return a sort key that puts methods in the order of `METHOD_TITLES`, unknown ones before ours.

    Rows with fewer training people stand before the one with all.
    """
    order, full, fewer = list(METHOD_TITLES), full_method(method), FEWER.search(method)
    place = order.index(full) if full in order else order.index(OUR_METHOD)
    return (place, int(fewer[1]) if fewer else sys.maxsize, method)


@dataclass(frozen=True)
class MethodNames:
    """Titles and colours of the methods of a report that the project does not list; others have their own."""

    titles: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)

    def title(self, method: str) -> str:
        """Return the display name of a method; no two methods of a report share one."""
        return self.titles.get(method) or method_title(method)

    def short(self, method: str) -> str:
        """Return the name of a method for legends and panels."""
        title = self.titles.get(method)
        if title is None:
            return short_title(method)
        return title if len(title) <= SHORT else f"{title[: SHORT - 1].rstrip()}…"

    def colour(self, method: str) -> str:
        """Return the colour of a method, `#RRGGBB`; no two methods of a report share one."""
        return PALETTE.get(method) or self.colours[method]


def names_in(cells: pd.DataFrame) -> MethodNames:
    """Return the names of a frame's methods, from the titles that the runs recorded (empty: not recorded)."""
    added = cells[~cells["method"].isin(list(METHOD_TITLES))].sort_values(["method", "started_ms"])
    titles: dict[str, str] = {}
    for method, recorded in zip(added["method"], added["title"].fillna(""), strict=True):
        newest = " ".join(str(recorded).split())
        titles[method] = newest or titles.get(method, method)
    paler = _paler_colours(titles)
    return MethodNames(_without_twins(titles), _spare_colours(set(titles) - set(paler)) | paler)


def _without_twins(titles: Mapping[str, str]) -> dict[str, str]:
    """Add the method's name to each title that another method has as well."""
    all_titles = [*METHOD_TITLES.values(), *titles.values()]
    return {
        method: f"{title} ({method})" if all_titles.count(title) > 1 else title
        for method, title in titles.items()
    }


def _spare_colours(methods: Iterable[str]) -> dict[str, str]:
    """Give each method the spare colour that its name points at, or the next one that is still free.

    So a method keeps its colour from report to report, unless it meets another one that points at the same.
    Beyond the spare colours come darker ones of the same hues.
    """
    chosen: dict[str, str] = {}
    for method in sorted(methods):
        shade = len(chosen) // len(SPARE_COLOURS)
        start = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "big")
        wheel = [
            _darker(SPARE_COLOURS[(start + i) % len(SPARE_COLOURS)], shade) for i in range(len(SPARE_COLOURS))
        ]
        chosen[method] = next(colour for colour in wheel if colour not in chosen.values())
    return chosen


def _paler_colours(methods: Iterable[str]) -> dict[str, str]:
    """Give rows with fewer training people paler shades of the method's own colour, the palest the fewest."""
    families: dict[str, list[str]] = {}
    for method in sorted(methods, key=method_rank):
        full = full_method(method)
        if full != method and full in PALETTE:
            families.setdefault(full, []).append(method)
    return {
        method: _paler(PALETTE[full], PALER * (len(own) - place) / len(own))
        for full, own in families.items()
        for place, method in enumerate(own)
    }


def _paler(colour: str, share: float) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (255 - part)):02X}" for part in parts)


def _darker(colour: str, shade: int) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part * 0.7**shade):02X}" for part in parts)
