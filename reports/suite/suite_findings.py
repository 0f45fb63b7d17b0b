"""What may be said, in words: whether a method has learnt anything, and what the evidence is too thin for."""

from collections.abc import Iterator

import pandas as pd

from benchmarks.protocol.protocol_config import Protocol
from eggan.evaluation.statistics import Interval
from reports.style.finding import Finding
from reports.suite.estimates import Group
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, method_kind, method_rank
from reports.suite.sections import Section
from reports.suite.superseded import superseded_records

SEEDS_FOR_CLAIMS, SEEDS_FOR_HEADLINES = 3, 5
PROTOCOL_VERSION = Protocol().version


def findings(frame: Frame, sections: list[Section]) -> list[Finding]:
    """Return all sentences: per trained method and section, then what the suite as a whole lacks.

    Ablations are judged by the paper's claims instead, in `reports.suite.claims`.
    """
    judged = [
        _on_method(section, g)
        for section in sections
        for g in section.groups
        if method_kind(g.method) == "method" and g.method not in ABLATIONS
    ]
    return [*judged, *_on_seeds(frame), *_on_sections(sections), *_on_protocol(frame), *_on_runs(frame)]


def _on_method(section: Section, group: Group) -> Finding:
    name = f"{group.title} on {section.where}"
    if not len(group.pairs):
        return Finding("bad", f"{name}: nothing to judge ({group.failure}).")
    skill, margin = section.skills[group.method], section.margins.get(group.method)
    numbers = f"AU skill over copy-source {_interval(skill)}"
    if skill.high <= 0:
        text = f"{name} has learnt nothing: no better than returning the source ({numbers})."
        return Finding("bad", text)
    if margin is None:
        return Finding(
            "open",
            f"{name}: {numbers}; whether it beats a mix of copy-source and target passthrough is not "
            "measured, since one of the two has no scores on these pairs.",
        )
    numbers += f"; margin over every mix of copy-source and target passthrough {_interval(margin)}"
    if margin.estimate <= 0:
        text = f"{name} has learnt nothing: it lies between copy-source and target passthrough ({numbers})."
        return Finding("bad", text)
    if margin.low <= 0 or skill.low <= 0:
        text = f"{name} is not shown to have learnt anything: an interval includes 0 ({numbers})."
        return Finding("open", text)
    seeds = group.evidence.seeds
    trainings = "One training" if seeds == 1 else f"{seeds} trainings"
    few = "" if seeds >= SEEDS_FOR_CLAIMS else f" {trainings}: no claim yet."
    return Finding(
        "open" if few else "good",
        f"{name} edits: it changes AUs towards the target and keeps the person better than any mix of "
        f"the two trivial answers would ({numbers}).{few}",
    )


def _interval(found: Interval) -> str:
    return f"{float(found.estimate):.2f} [{float(found.low):.2f}, {float(found.high):.2f}]"


def _on_seeds(frame: Frame) -> Iterator[Finding]:
    methods = frame.cells["method"]
    trained = frame.cells[(methods.map(method_kind) == "method") & ~methods.isin(ABLATIONS)]
    finished = trained[trained["state"] == "finished"].groupby(["dataset", "method"]).size()
    fewest = int(finished.min()) if len(finished) else 0
    if fewest < SEEDS_FOR_CLAIMS:
        counted = _counted(frame, finished, SEEDS_FOR_CLAIMS, "finished training seed(s)")
        yield Finding(
            "open",
            f"Preliminary: {counted}, where claims need {SEEDS_FOR_CLAIMS} and "
            f"headlines {SEEDS_FOR_HEADLINES}. With one seed an interval spans faces, not trainings.",
        )
    elif fewest < SEEDS_FOR_HEADLINES:
        counted = _counted(frame, finished, SEEDS_FOR_HEADLINES, "seeds")
        yield Finding("open", f"{counted} carry claims; a headline needs {SEEDS_FOR_HEADLINES}.")


def _counted(frame: Frame, finished: pd.Series, enough: int, what: str) -> str:
    """Return how many seeds the rows have that have fewer than `enough`: `1 seeds of A; 2 of B`."""
    if not len(finished):
        return f"0 {what}"
    parts: list[str] = []
    for count, rows in finished[finished < enough].groupby(finished):
        titles = sorted(set(rows.index.get_level_values("method")), key=method_rank)
        of = "" if len(rows) == len(finished) else " of " + ", ".join(map(frame.names.title, titles))
        parts.append(f"{count}{'' if parts else f' {what}'}{of}")
    return "; ".join(parts)


def _on_sections(sections: list[Section]) -> Iterator[Finding]:
    for dataset in sorted({s.dataset for s in sections} - {s.dataset for s in sections if s.split == "wide"}):
        text = f"No wide test split of {dataset} was scored: a few test identities carry no headline claim."
        yield Finding("open", text)
    for section in {s.dataset: s for s in sections if s.readers.sets > 1}.values():
        yield Finding(
            "bad",
            f"The cells of {section.dataset} were scored by {section.readers.sets} different sets of "
            "instruments: their rows cannot be compared. Run the suite again with one.",
        )


def _on_protocol(frame: Frame) -> Iterator[Finding]:
    """Say which cells an earlier version of the protocol scored, and what is left out of them."""
    done = frame.cells[frame.cells["state"] == "finished"]
    old = done[done["protocol_version"] < PROTOCOL_VERSION]
    if len(old):
        versions = ", ".join(map(str, sorted(set(old["protocol_version"]))))
        withdrawn = sorted({str(record["metric"]) for record in superseded_records(frame)})
        yield Finding(
            "bad",
            f"{len(old)} of {len(done)} finished cells were scored under protocol version {versions}, the "
            f"present one is {PROTOCOL_VERSION}: {', '.join(withdrawn) or 'nothing'} of theirs is superseded "
            f"and left out. `eggan bench run {frame.suite}` scores them again.",
        )


def _on_runs(frame: Frame) -> Iterator[Finding]:
    for note in dict.fromkeys(frame.notes["note"]):
        yield Finding("open", f"Note: {note}.")
    lost, cells = int((frame.cells["state"] != "finished").sum()), len(frame.cells)
    if lost:
        yield Finding("bad", f"{lost} of {cells} cells did not finish; they stay visible in every table.")
    if (frame.cells["dirty"] == "true").any():
        yield Finding("open", "Some runs were made from a source tree with uncommitted changes.")
