"""Results against the number of training people: a figure and a table, where a suite has rows of both."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from eggan.evaluation.statistics import Interval
from reports.style.figure_style import Picture, style
from reports.style.metric_catalogue import METRICS
from reports.style.ranges import Range, range_of
from reports.style.sheet import Sheet
from reports.style.sides import write_beneath, write_values
from reports.style.table import Entry, Table
from reports.suite.estimates import Group, column_interval
from reports.suite.method_names import full_method, method_rank
from reports.suite.sections import Section
from reports.suite.suite_figures import write_legend
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
TITLE = 9.0  # letters of titles, in points
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
    headings = (_heading(section, key) for key in SHOWN)
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
        sheet = Sheet(9.4, 3.1)
        top = write_legend(sheet, list(found), section.names) - 0.28
        width = sheet.width / len(SHOWN)
        for number, key in enumerate(SHOWN):
            x = range_of([np.log10(numbers)], width * number + 0.52, width * (number + 1) - 0.12)
            _panel(sheet, x, top, section, key, found, numbers)
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
    return Picture(f"people-{section.key}", title, caption, sheet.figure)


def _panel(
    sheet: Sheet,
    x: Range,
    top: float,
    section: Section,
    key: str,
    found: Mapping[str, Sequence[tuple[int, Group]]],
    numbers: Sequence[int],
) -> None:
    """Draw a metric of every method against the number of people, whose logarithm is along `x`."""
    known = {
        method: [(number, own) for number, group in groups if (own := _estimate(section, group, key))]
        for method, groups in found.items()
    }
    ends = [[own.estimate, own.low, own.high] for rows in known.values() for _, own in rows]
    y = range_of([np.array(ends, np.float64).ravel()], 0.46, top)
    places = map(float, x.inches(np.log10(numbers)))
    write_beneath(sheet, y, zip(places, (f"{number:,}" for number in numbers), strict=True))
    sheet.write((x.start + x.end) / 2, 0.08, "training people", align=0.5)
    sheet.write(x.start, top + 0.08, _heading(section, key), TITLE, height="bottom")
    write_values(sheet, x, y)
    sheet.frame(x.start, y.start, x.end, y.end)
    for place, (method, rows) in enumerate(known.items()):
        shift = SPREAD * (place - (len(found) - 1) / 2)
        _line(sheet, x, y, rows, shift, section.names.colour(method))


def _line(
    sheet: Sheet, x: Range, y: Range, rows: Sequence[tuple[int, Interval]], shift: float, colour: str
) -> None:
    """Draw a method's values with their intervals as whiskers; where one is not defined, none."""
    along = x.inches(np.log10([number for number, _ in rows]) + shift)
    values, low, high = (
        y.inches(np.array([float(getattr(own, end)) for _, own in rows]))
        for end in ("estimate", "low", "high")
    )
    points = np.column_stack([along, values])
    sheet.lines([points], colour, 1.2)
    sheet.whiskers(along, low, high, colour, 0.8)
    sheet.dots(points, 4.5, colour)


def _heading(section: Section, key: str) -> str:
    return METRICS[key].heading.replace("estimator A", section.readers.a)


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
