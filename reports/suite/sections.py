"""One section of a report: all estimates of one dataset and split, shared by tables and figures."""

from dataclasses import dataclass, field

from benchmarks.scoring.pair_columns import read_mask
from eggan.evaluation.statistics import Interval, Statistic
from reports.style.metric_catalogue import METRICS
from reports.suite.estimates import (
    Group,
    au_statistics,
    column_statistic,
    groups_of,
    intervals,
    margin_statistic,
    side_by_side,
    skill_statistic,
    trivial,
    with_average,
)
from reports.suite.frame import Frame, Progress
from reports.suite.instrument_names import Readers, readers_of
from reports.suite.method_names import ABLATIONS, MethodNames, method_kind

SPLIT_TITLES = {  # in the order of the page: the headline first
    "wide": "wide test split (headline)",
    "test": "test split of the paper's protocol",
    "val": "validation split",
}


def split_title(split: str) -> str:
    """Return the display name of a split."""
    return SPLIT_TITLES.get(split, f"{split} split")


@dataclass(frozen=True)
class Section:
    """Groups of one dataset and split with their intervals.

    `intervals`: (method, `mse` | `pcc` | `mse-b` | `pcc-b`) -> (18,) values, the mean last. `skills`: method
    -> skill over copy-source. `margins`: trained method -> margin over mixtures of the two trivial
    references; of a variant without a part none.
    `readers` names the instruments that scored the section. What no instrument read has no interval.
    """

    dataset: str
    split: str
    groups: list[Group]
    intervals: dict[tuple[str, str], Interval]
    skills: dict[str, Interval]
    margins: dict[str, Interval]
    readers: Readers = field(default_factory=Readers)
    names: MethodNames = field(default_factory=MethodNames)

    @property
    def key(self) -> str:
        """Name for files and links."""
        return f"{self.dataset}-{self.split}"

    @property
    def where(self) -> str:
        """Dataset and split as titles and sentences name them."""
        return f"{self.dataset}, {split_title(self.split)}"


def sections_of(frame: Frame, progress: Progress) -> list[Section]:
    """Return a section per dataset and split that has pairs; the split that carries the headline first."""
    datasets = sorted(set(frame.cells["dataset"]))
    found = [
        (dataset, split)
        for dataset in datasets
        for split in sorted(set(frame.pairs.loc[frame.pairs["dataset"] == dataset, "split"]), key=_split_rank)
    ]
    sections = [_empty(frame, dataset, split) for dataset, split in found]
    every = [(section, group) for section in sections for group in section.groups if len(group.pairs)]
    found_estimates = side_by_side(lambda item: _estimates(*item), every)
    steps = progress(zip(every, found_estimates, strict=True), len(every), "bootstrap of the estimates")
    for (section, group), found in steps:
        section.skills[group.method] = found.pop("skill")
        if "margin" in found:
            section.margins[group.method] = found.pop("margin")
        section.intervals.update({(group.method, name): own for name, own in found.items()})
    return sections


def _split_rank(split: str) -> tuple[int, str]:
    order = list(SPLIT_TITLES)
    return (order.index(split) if split in order else len(order), split)


def _empty(frame: Frame, dataset: str, split: str) -> Section:
    """Return a section without its estimates."""
    readers = readers_of(frame.cells, frame.instruments, dataset)
    return Section(dataset, split, groups_of(frame, dataset, split), {}, {}, {}, readers, frame.names)


def _estimates(section: Section, group: Group) -> dict[str, Interval]:
    """Return a group's AU intervals, its `skill` and its `margin`; the means of its pair columns it keeps."""
    named: dict[str, Statistic | None] = {"skill": skill_statistic(group.pairs)}
    for reading, suffix in (("a", ""), ("b", "-b")):
        if reading == "a" or read_mask(group.pairs, reading).any():
            for metric, statistic in au_statistics(group.pairs, reading).items():
                named[metric + suffix] = with_average(statistic)
    _, passthrough = trivial(section.groups)
    if passthrough is not None and method_kind(group.method) == "method" and group.method not in ABLATIONS:
        named["margin"] = margin_statistic(group, passthrough)
    pair_columns = {(m.pair_column, m.scale) for m in METRICS.values() if m.pair_column}
    columns = {column: column_statistic(group.pairs, *column) for column in pair_columns}
    wanted = {key: statistic for key, statistic in (named | columns).items() if statistic}
    found = intervals(group, wanted)
    group.columns.update({column: found.get(column) for column in columns})
    return {name: found[name] for name in named if name in found}
