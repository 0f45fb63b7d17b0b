"""One static page with everything: no requests, images beside it, readable from a file, scripts or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.scoring.pair_columns import has_reading
from reports.style.figure_style import Picture
from reports.style.finding import Finding
from reports.style.html import render
from reports.style.metric_catalogue import METRICS
from reports.style.table import Table
from reports.suite import published
from reports.suite.estimates import THIRD
from reports.suite.frame import Frame
from reports.suite.method_names import OUR_METHOD, method_rank
from reports.suite.sections import Section, split_title

LANDMARK_READER = "au_landmarks"
TEMPLATE = Path(__file__).with_name("suite_page.html")
MARGIN_DEFINITION = (
    "Margin over mixtures: a coin that returns either the source (copy-source) or the reference image "
    "(target passthrough) moves on a straight line between these two in the plane of mean MSE and accuracy. "
    "Expression gained (0 at copy-source, 1 at passthrough) plus identity kept (1 at copy-source, 0 at "
    "passthrough) is 1 all along that line. The margin is the sum minus 1. At or below 0 a method lies "
    "between the two references and has learnt nothing."
)


@dataclass(frozen=True)
class SectionPage:
    """What the page shows of one section."""

    section: Section
    tables: Mapping[str, Table]
    pictures: Sequence[Picture]

    @property
    def title(self) -> str:
        """Heading."""
        return f"{self.section.dataset}: {split_title(self.section.split)}"


def render_page(
    frame: Frame,
    sections: Sequence[SectionPage],
    faces: Sequence[Picture],
    training: Sequence[Picture],
    findings: Sequence[Finding],
) -> str:
    """Return the page as HTML; everything that comes from runs is escaped."""
    return render(
        TEMPLATE,
        frame=frame,
        ours=OUR_METHOD,
        title=f"EGGAN benchmark: suite {frame.suite}",
        facts=facts(frame),
        sections=sections,
        faces=faces,
        training=training,
        findings=findings,
        runs=list(frame.cells.to_dict("records")),
        method_title=frame.names.title,
        duration=duration,
        metrics=METRICS.values(),
        margin_definition=MARGIN_DEFINITION,
        instruments=instrument_cards(frame),
        settings=settings(frame),
        cells=cell_records(frame),
        published=published,
    )


def facts(frame: Frame) -> list[tuple[str, str]]:
    """Return the lines of the page's head: suite, cells, code, machine, data, dates."""
    cells = frame.cells
    finished = int((cells["state"] == "finished").sum())
    started = pd.to_datetime(cells["started_ms"], unit="ms")
    return [
        ("Suite", frame.suite),
        ("Cells", f"{finished} finished of {len(cells)}"),
        ("Commit", "; ".join(sorted({_commit(row) for _, row in cells.iterrows()}))),
        ("Machine", "; ".join(sorted(set(cells["machine"])))),
        *([("Budget", "; ".join(frame.budgets))] if frame.budgets else []),
        ("Data", "; ".join(_each_once(cells["dataset_digest"])) or "not recorded"),
        ("Runs started", f"{started.min():%Y-%m-%d %H:%M} to {started.max():%Y-%m-%d %H:%M} UTC"),
        ("Machine time", duration(float(cells["seconds"].sum()))),
    ]


def _each_once(lists: Iterable[str]) -> list[str]:
    """Return the members of lists with "; " between them; rows of a suite share most of their data."""
    return sorted({member for text in lists for member in text.split("; ")} - {""})


@dataclass(frozen=True)
class Settings:
    """How the trained methods were set: a value per method and setting, in the order of `methods`."""

    methods: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def settings(frame: Frame) -> Settings:
    """Return every setting of the trained methods; seeds of one method share theirs, `–` is no such setting.

    Seeds (or datasets) that were set differently show all their values.
    """
    owners = frame.settings.merge(frame.cells[["run_id", "method"]], on="run_id")
    methods = tuple(sorted(set(owners["method"]), key=method_rank))
    found = owners.groupby(["setting", "method"])["value"].agg(lambda values: " / ".join(values.unique()))
    table = found.unstack(fill_value="–").reindex(columns=list(methods))
    return Settings(methods, tuple((str(row[0]), tuple(row[1:])) for row in table.itertuples()))


def cell_records(frame: Frame) -> list[dict[str, Any]]:
    """Return per cell its environment, its resolved settings, and the command that makes it again."""
    by_run = {run: list(group.itertuples()) for run, group in frame.settings.groupby("run_id")}
    return [
        {
            "title": frame.names.title(row["method"]),
            "dataset": row["dataset"],
            "seed": row["seed"],
            "command": f"git checkout {row['commit']}\n"
            f"eggan bench run {row['ran_as'] or row['suite']} --only {row['method']} --seed {row['seed']}",
            "environment": [
                ("Commit", _commit(row)),
                ("Machine", row["machine"]),
                ("Data", row["dataset_digest"]),
                ("Instruments", row["instruments"]),
                *([("Learns from", row["learns_from"])] if row["learns_from"] else []),
                ("Protocol version", row["protocol_version"]),
            ],
            "settings": [(item.setting, item.value) for item in by_run.get(row["run_id"], [])],
        }
        for _, row in frame.cells.iterrows()
    ]


def _commit(row: pd.Series) -> str:
    changed = " with uncommitted changes" if row["dirty"] == "true" else ""
    return f"{str(row['commit'])[:12] or 'unknown'}{changed}"


def duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def instrument_cards(frame: Frame) -> list[dict[str, Any]]:
    """Return name, sha256, held-out figures and whether the runs used this very file, per instrument."""
    used = " ".join(frame.cells["instruments"].fillna("").astype(str))
    cards = []
    for name, card in frame.instruments.items():
        digest = str(card.get("sha256", ""))
        held_out = [(title, _scalars(values)) for title, values in dict(card.get("held_out", {})).items()]
        cards.append(
            {
                "name": name,
                "title": card.get("title", ""),
                "sha256": digest,
                "missing": card.get("missing", ""),
                "used": bool(digest) and (digest in used or _gave_third_opinion(card, frame)),
                "held_out": [(title, values) for title, values in held_out if values],
                "threshold": _scalars(card.get("threshold", {})),
                "seed": card.get("seed", ""),
            }
        )
    return cards


def _gave_third_opinion(card: Mapping[str, Any], frame: Frame) -> bool:
    """Return whether a card is of the reader whose opinion decides no run, and runs have it."""
    return card.get("name") == LANDMARK_READER and has_reading(frame.pairs, THIRD)


def _scalars(values: Any) -> list[tuple[str, str]]:
    if not isinstance(values, Mapping):
        return []
    plain = {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return [
        (str(k).replace("_", " "), f"{v:.4g}" if isinstance(v, float) else f"{v:,}") for k, v in plain.items()
    ]
