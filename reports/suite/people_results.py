"""Results against the number of training people: a figure and a table, where a suite has rows of both."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eggan.evaluation.statistics import Interval
from reports.style.figure_style import FAINT, Picture, legend_columns, literal, style
from reports.style.metric_catalogue import METRICS
from reports.style.table import Entry, Table
from reports.suite.estimates import Group, column_interval
from reports.suite.method_names import full_method, method_rank
from reports.suite.sections import Section
from reports.suite.suite_tables import (
    INTERVALS,
    entry,
    failure_notes,
    method_rows,
    missing_words,
    section_table,
)

PEOPLE = re.compile(r"([\d,]+) people")  # at the start of what a run recorded of its training people
SHOWN = ("au/mse", "au/pcc", "identity/accuracy")
SPREAD = 0.03  # by which methods stand beside each other at one number of people, of its logarithm


def by_people(section: Section) -> dict[str, list[tuple[int, Group]]]:
    """Return the groups of each method with several numbers of training people, from few to many."""
    found: dict[str, list[tuple[int, Group]]] = {}
    for group in section.groups:
        fewer = PEOPLE.match(group.learns_from)
        if fewer:
            found.setdefault(full_method(group.method), []).append((int(fewer[1].replace(",", "")), group))
    several = {
        method: sorted(rows, key=lambda row: row[0]) for method, rows in found.items() if len(rows) > 1
    }
    return {method: several[method] for method in sorted(several, key=method_rank)}


def people_table(section: Section) -> Table | None:
    """Return a row per method and number of training people; None where no method has several."""
    rows = []
    for method, groups in by_people(section).items():
        people = {group.method: number for number, group in groups}

        def entries(group: Group, people: Mapping[str, int] = people) -> list[Entry]:
            words = missing_words(group) if not len(group.pairs) else ""
            return [
                Entry(float(people[group.method]), digits=0),
                *(entry(_estimate(section, group, key), METRICS[key].digits, words=words) for key in SHOWN),
            ]

        directions = ["", *(METRICS[key].direction for key in SHOWN)]
        own = [group for _, group in groups]
        rows += method_rows(own, entries, directions, section.names.title(method))
    if not rows:
        return None
    headings = (METRICS[key].heading.replace("estimator A", section.readers.a) for key in SHOWN)
    return section_table(
        section,
        "people",
        "Results against the number of training people",
        f"Unseen people, after equal numbers of training images. {INTERVALS} With one seed they span faces, "
        "not trainings. Bold: the best number of people of each method.",
        "Method",
        ("Training people", *headings),
        rows,
        failure_notes(section.groups),
    )


def people_figures(sections: Sequence[Section]) -> list[Picture]:
    """Return a figure per section in which some method has several numbers of training people."""
    return [_figure(section, found) for section in sections if (found := by_people(section))]


def _figure(section: Section, found: Mapping[str, Sequence[tuple[int, Group]]]) -> Picture:
    numbers = sorted({number for groups in found.values() for number, _ in groups})
    with style():
        figure = Figure(figsize=(9.4, 3.1), layout="constrained")
        for axes, key in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
            for place, (method, groups) in enumerate(found.items()):
                shift = 10 ** (SPREAD * (place - (len(found) - 1) / 2))
                _line(axes, section, key, method, groups, shift)
            _dress(axes, METRICS[key].heading.replace("estimator A", section.readers.a), numbers)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=legend_columns(len(found), 6))
    what = "; ".join(
        f"{METRICS[key].title.replace('estimator A', section.readers.a)} {_words(section, key, found)}"
        for key in SHOWN
    )
    caption = (
        "Unseen people against the number of training people (logarithmic), after equal numbers of images. "
        f"Whiskers: 95 % crossed bootstrap over source identities × targets × seeds. From the fewest "
        f"people to the most: {what}."
    )
    title = f"Results against the number of training people ({section.dataset}, {section.split})"
    return Picture(f"people-{section.key}", title, caption, figure)


def _line(
    axes: Axes, section: Section, key: str, method: str, groups: Sequence[tuple[int, Group]], shift: float
) -> None:
    known = [(number, found) for number, group in groups if (found := _estimate(section, group, key))]
    centre, low, high = (
        np.array([float(getattr(found, end)) for _, found in known]) for end in ("estimate", "low", "high")
    )
    ends = np.nan_to_num(np.clip([centre - low, high - centre], 0, None))
    axes.errorbar(
        [shift * number for number, _ in known],
        centre,
        yerr=ends,
        color=section.names.colour(method),
        label=literal(section.names.short(method)),
        marker="o",
        markersize=3.5,
        linewidth=1.2,
        elinewidth=0.8,
        capsize=2,
    )


def _dress(axes: Axes, title: str, numbers: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlabel("training people")
    axes.set_title(literal(title), fontsize=9, loc="left")
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def _words(section: Section, key: str, found: Mapping[str, Sequence[tuple[int, Group]]]) -> str:
    """Return each method's value at the fewest and at the most people, for who cannot see the figure."""
    return ", ".join(
        f"{section.names.title(method)} {_number(section, groups[0][1], key)} to "
        f"{_number(section, groups[-1][1], key)}"
        for method, groups in found.items()
    )


def _number(section: Section, group: Group, key: str) -> str:
    return entry(_estimate(section, group, key), METRICS[key].digits, words="not measured").number


def _estimate(section: Section, group: Group, key: str) -> Interval | None:
    """Return a metric's mean with its interval; None where the method has no finished pairs."""
    if not len(group.pairs):
        return None
    metric = METRICS[key]
    if metric.pair_column:
        return column_interval(group, metric.pair_column, metric.scale)
    found = section.intervals[group.method, key.removeprefix("au/")]
    return replace(found, estimate=found.estimate[-1], low=found.low[-1], high=found.high[-1])
