"""What may be said, in words: whether a method has learnt anything, and what the evidence is too thin for."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.protocol.protocol_config import Protocol
from eggan.evaluation.statistics import Interval
from reports.style.metric_catalogue import ABLATIONS, method_kind, split_title
from reports.suite.estimates import Group
from reports.suite.frame import Frame
from reports.suite.sections import Section
from reports.suite.superseded import superseded_records

SEEDS_FOR_CLAIMS, SEEDS_FOR_HEADLINES = 3, 5
PROTOCOL_VERSION = Protocol().version
Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Verdict:
    """One sentence with its tone: a claim that holds, one that does not, or one that stays open."""

    tone: Tone
    text: str


def verdicts(frame: Frame, sections: list[Section]) -> list[Verdict]:
    """Return all sentences: per trained method and section, then what the suite as a whole lacks.

    EGGAN's ablations are judged by the paper's claims instead, in `reports.suite.claims`.
    """
    said = [
        _on_method(section, g)
        for section in sections
        for g in section.groups
        if method_kind(g.method) == "method" and g.method not in ABLATIONS
    ]
    return said + _on_suite(frame, sections)


def _on_method(section: Section, group: Group) -> Verdict:
    name = f"{group.title} on {section.dataset}, {split_title(section.split)}"
    if not len(group.pairs):
        return Verdict("bad", f"{name}: nothing to judge ({group.failure}).")
    skill = section.skills[group.method]
    told = f"AU skill over copy-source {_told(skill)}"
    if skill.high <= 0:
        return Verdict("bad", f"{name} has learnt nothing: no better than returning the source ({told}).")
    margin = section.margins.get(group.method)
    if margin is None:
        return Verdict(
            "open",
            f"{name}: {told}; whether it beats a mix of copy-source and target passthrough is not "
            "measured, since one of the two has no scores on these pairs.",
        )
    told += f"; margin over every mix of copy-source and target passthrough {_told(margin)}"
    if margin.estimate <= 0:
        return Verdict(
            "bad", f"{name} has learnt nothing: it lies between copy-source and target passthrough ({told})."
        )
    if margin.low <= 0 or skill.low <= 0:
        return Verdict(
            "open", f"{name} is not shown to have learnt anything: an interval includes 0 ({told})."
        )
    return Verdict(
        "good",
        f"{name} edits: it changes AUs towards the target and keeps the person better than any mix of "
        f"the two trivial answers would ({told}).",
    )


def _told(found: Interval) -> str:
    return f"{float(found.estimate):.2f} [{float(found.low):.2f}, {float(found.high):.2f}]"


def _on_suite(frame: Frame, sections: list[Section]) -> list[Verdict]:
    methods = frame.cells["method"]
    trained = frame.cells[(methods.map(method_kind) == "method") & ~methods.isin(ABLATIONS)]
    finished = trained[trained["state"] == "finished"].groupby(["dataset", "method"]).size()
    fewest = int(finished.min()) if len(finished) else 0
    said = []
    if fewest < SEEDS_FOR_CLAIMS:
        said.append(
            Verdict(
                "open",
                f"Preliminary: {fewest} finished training seed(s) where claims need {SEEDS_FOR_CLAIMS} and "
                f"headlines {SEEDS_FOR_HEADLINES}. With one seed an interval spans faces, not trainings.",
            )
        )
    elif fewest < SEEDS_FOR_HEADLINES:
        said.append(Verdict("open", f"{fewest} seeds carry claims; a headline needs {SEEDS_FOR_HEADLINES}."))
    for dataset in sorted({s.dataset for s in sections} - {s.dataset for s in sections if s.split == "wide"}):
        text = f"No wide test split of {dataset} was scored: a few test identities carry no headline claim."
        said.append(Verdict("open", text))
    for section in {s.dataset: s for s in sections if s.readers.sets > 1}.values():
        text = (
            f"The cells of {section.dataset} were scored by {section.readers.sets} different sets of "
            "instruments: their rows cannot be compared. Run the suite again with one."
        )
        said.append(Verdict("bad", text))
    said += _on_protocol(frame)
    said += [Verdict("open", f"Note: {note}.") for note in dict.fromkeys(frame.notes["note"])]
    lost = frame.cells[frame.cells["state"] != "finished"]
    if len(lost):
        said.append(
            Verdict(
                "bad",
                f"{len(lost)} of {len(frame.cells)} cells did not finish; they stay visible in every table.",
            )
        )
    if (frame.cells["dirty"] == "true").any():
        said.append(Verdict("open", "Some runs were made from a source tree with uncommitted changes."))
    return said


def _on_protocol(frame: Frame) -> list[Verdict]:
    """Say which cells an earlier version of the protocol scored, and what is left out of them."""
    done = frame.cells[frame.cells["state"] == "finished"]
    old = done[done["protocol_version"] < PROTOCOL_VERSION]
    if not len(old):
        return []
    versions = ", ".join(map(str, sorted(set(old["protocol_version"]))))
    withdrawn = sorted({str(record["metric"]) for record in superseded_records(frame)})
    return [
        Verdict(
            "bad",
            f"{len(old)} of {len(done)} finished cells were scored under protocol version {versions}, the "
            f"present one is {PROTOCOL_VERSION}: {', '.join(withdrawn) or 'nothing'} of theirs is superseded "
            f"and left out. `eggan bench run {frame.suite}` scores them again.",
        )
    ]
