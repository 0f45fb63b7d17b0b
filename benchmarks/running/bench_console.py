"""What `eggan bench` prints: plans, states, summaries. Functions return text; only the commands print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.running.cells import (
    TRAINED,
    WEIGHTS_OF,
    CellStatus,
    PlannedCell,
    all_cells,
    folder_mib,
    read_status,
)
from eggan.files import read_json
from eggan.options import command

if TYPE_CHECKING:  # torch takes seconds to import, and a state is read without it
    from benchmarks.running.environment import BenchEnvironment
    from benchmarks.suites.suite import Row, Suite

HEADLINE = {
    "AU MSE": "test/au/mse",
    "PCC": "test/au/pcc",
    "skill": "test/au/skill",
    "same %": "test/identity/accuracy",
    "PSNR": "test/pixels/psnr",
}
TRAINED_MIB, REFERENCE_MIB = 40.0, 6.0  # of a cell, before one has been measured
SCORING_MINUTES = 0.5  # likewise; what a suite expects of a reference
SYNFACS_IMAGES = {"twin": 1608, "wide": 1536, "crowd": 37_440}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table with left-aligned columns."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def suites_text() -> str:
    """Return the list of suites."""
    from benchmarks.suites.suite import SUITES

    rows = [[s.name, f"{s.image_size} px", str(len(list(s.cells()))), s.title] for s in SUITES.values()]
    return table(["suite", "size", "cells", "what"], rows)


def status_text(runs: Path) -> str:
    """Return the state of every cell below `runs`, with reasons."""
    folders = all_cells(runs)
    if not folders:
        return f"no cells in {runs}: start with `{command('bench run quick')}`"
    statuses = [read_status(folder) for folder in folders]
    statuses.sort(
        key=lambda s: (s.values["spec"]["suite"], s.values.get("name", "")) if s.values else ("", s.key)
    )
    return table(["suite", "cell", "state", "minutes", "key", "reason"], [_status_row(s) for s in statuses])


def _status_row(status: CellStatus) -> list[str]:
    values = status.values
    minutes = f"{values.get('seconds', 0) / 60:.1f}"
    suite = values["spec"]["suite"] if values else "?"
    return [suite, values.get("name", "?"), status.state, minutes, status.key, status.reason]


def summary_text(plans: Sequence[PlannedCell], bench: "BenchEnvironment") -> str:
    """Return one line per cell: state and headline scores."""
    rows = []
    for plan in plans:
        folder = bench.cell_folder(plan.spec.key)
        status = read_status(folder)
        rows.append([plan.spec.name, status.state, *_headline(folder, status), status.reason])
    return table(["cell", "state", *HEADLINE, ""], rows)


def _headline(folder: Path, status: CellStatus) -> list[str]:
    if status.state != "finished":
        return ["-"] * len(HEADLINE)
    values = read_json(folder / "scores" / "summary.json")
    return ["-" if values.get(name) is None else f"{values[name]:.3f}" for name in HEADLINE.values()]


def unmeasured_lines(plans: Sequence[PlannedCell], bench: "BenchEnvironment") -> list[str]:
    """Return a line per reason why metrics have no value, and one per cell with edits that were not read."""
    from benchmarks.scoring.evaluate import METHOD_REASONS

    reasons: dict[str, list[str]] = {}
    unread = []
    for plan in plans:
        folder = bench.cell_folder(plan.spec.key)
        if read_status(folder).state != "finished":
            continue
        for metric, reason in read_json(folder / "scores" / "not_measured.json").items():
            if reason not in METHOD_REASONS:
                reasons.setdefault(reason, []).append(metric.partition("/")[2])
        unread += _unread_lines(plan, read_json(folder / "scores" / "summary.json"))
    lines = [f"not measured: {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]
    return lines + unread


def _unread_lines(plan: PlannedCell, summary: dict[str, float]) -> list[str]:
    failed = {name.partition("/")[0]: n for name, n in summary.items() if name.endswith("/n_failed_readings")}
    return [
        f"{plan.spec.name}: the AU instrument could not read {n:.0f} of {summary[f'{split}/n_pairs']:.0f} "
        f"pairs of the split {split}"
        for split, n in failed.items()
        if n
    ]


def plan_text(plans: Sequence[PlannedCell], bench: "BenchEnvironment") -> str:
    """Return the cells that a run would work on, with estimated time and disk."""
    from benchmarks.running.earlier_training import has_weights  # checkpoints bring torch

    rows, minutes, mib = [], 0.0, 0.0
    for plan in plans:
        status = read_status(bench.cell_folder(plan.spec.key))
        state, cell_minutes, cell_mib = status.state, 0.0, 0.0
        if state == "finished":
            state = "reused"
        elif has_weights(plan.spec, bench.cell_folder(plan.spec.key), bench.runs):
            state = f"{state}, weights reused"
            cell_minutes, cell_mib = expected_cost(plan.row, bench.runs, trains=False)
        else:
            cell_minutes, cell_mib = expected_cost(plan.row, bench.runs)
        minutes, mib = minutes + cell_minutes, mib + cell_mib
        rows.append([plan.spec.name, state, f"{cell_minutes:.1f}", plan.spec.key])
    text = table(["cell", "state", "minutes", "key"], rows)
    return f"{text}\nabout {minutes:.0f} minutes and {mib:.0f} MiB"


def expected_cost(row: "Row", runs: Path, trains: bool = True) -> tuple[float, float]:
    """Return the expected minutes and MiB of a cell: medians of finished cells of the same row, else a
    guess. One that does not train has its weights already, and is only scored.
    """
    alike = [folder for folder in all_cells(runs) if _is_of(row, read_status(folder))]
    if not alike:
        minutes = row.expected_minutes if trains else SCORING_MINUTES
        return minutes, TRAINED_MIB if row.training else REFERENCE_MIB
    spent = [_seconds(read_status(folder).values) for folder in alike]
    seconds = median(scoring + training if trains else scoring for training, scoring in spent)
    return seconds / 60, median(map(folder_mib, alike))


def _seconds(values: Mapping[str, Any]) -> tuple[float, float]:
    """Return how long a finished cell's training took and how long its scoring.

    One that took over another cell's weights recorded that one's training, and spent no time on it.
    """
    trained = values.get(TRAINED) or {}
    training = trained.get("cost/build_seconds", 0.0) + trained.get("cost/train_seconds", 0.0)
    return training, max(0.0, values["seconds"] - (0.0 if WEIGHTS_OF in values else training))


def _is_of(row: "Row", status: CellStatus) -> bool:
    from eggan.config import to_dict

    spec = status.values.get("spec", {})
    training = to_dict(row.training) if row.training else {}
    return status.state == "finished" and spec.get("method") == row.name and spec.get("training") == training


def missing_datasets_text(suite: "Suite", roles: Sequence[str], bench: "BenchEnvironment") -> str:
    """Say that the cells of a suite are not known before its datasets are rendered, and what that takes."""
    mib = sum(SYNFACS_IMAGES[role] * suite.image_size**2 * 3 for role in roles) / 2**20
    rows = [
        [f"{row.name}/{suite.dataset}/s{seed}", f"{row.expected_minutes:.1f}"] for row, seed in suite.cells()
    ]
    folders = ", ".join(str(bench.dataset_folder(suite, role)) for role in roles)
    total = sum(row.expected_minutes for row, _ in suite.cells())
    return (
        f"{table(['cell', 'minutes'], rows)}\nabout {total:.0f} minutes; "
        f"before that {folders} would be rendered ({mib:.0f} MiB), which decides the cells' keys"
    )
