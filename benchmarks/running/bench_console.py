"""What `eggan bench` prints: plans, states, summaries. Functions return text; only the commands print."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.running.cells import CellStatus, PlannedCell, all_cells, read_status
from eggan.errors import UserError
from eggan.files import is_number, read_json
from eggan.options import command
from eggan.progress import loading

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
STATUS = ["suite", "cell", "state", "minutes", "key"]
UNKNOWN = "?"
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
    """Return the state of every cell below `runs`, with reasons.

    Where several cells of a suite have one name, all are marked: the suite's own, or of which other settings.
    """
    folders = all_cells(runs)
    if not folders:
        return f"no cells in {runs}: start with `{command('bench run quick')}`"
    statuses = [read_status(folder) for folder in folders]
    statuses.sort(key=lambda status: (*_suite_and_name(status), status.key))
    rows = [_status_row(status) for status in statuses]
    names = [name for name in map(_suite_and_name, statuses) if UNKNOWN not in name]
    if len(names) == len(set(names)):
        return table([*STATUS, "reason"], rows)
    with loading():  # what the suites are now brings torch, which a state alone is read without
        from benchmarks.running.cell_settings import notes_on_settings

    notes = notes_on_settings(statuses, runs)
    marked = [[*row[:-1], notes[status.key], row[-1]] for row, status in zip(rows, statuses, strict=True)]
    return table([*STATUS, "settings", "reason"], marked)


def _status_row(status: CellStatus) -> list[str]:
    minutes = f"{status.values.get('seconds', 0) / 60:.1f}"
    return [*_suite_and_name(status), status.state, minutes, status.key, status.reason]


def _suite_and_name(status: CellStatus) -> tuple[str, str]:
    return _suite_of(status), status.values.get("name", UNKNOWN)


def _suite_of(status: CellStatus) -> str:
    """Return the suite that a cell was run for; "?" where a crash or a damaged disk left nothing of it."""
    return str(status.values.get("spec", {}).get("suite", UNKNOWN))


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
    values = _read_scores(folder, "summary")
    return ["-" if values.get(name) is None else f"{values[name]:.3f}" for name in HEADLINE.values()]


def _read_scores(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "scores" / f"{name}.json"
    try:
        values = dict(read_json(path))
        if not all(map(SCORE_KINDS[name], values.values())):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{path} is missing or damaged: remove {folder}, and the suite's next run makes its cell again"
        ) from None
    return values


def _is_score(value: object) -> bool:
    return value is None or is_number(value)  # None: it could not be measured


def _is_text(value: object) -> bool:
    return isinstance(value, str)


SCORE_KINDS: Mapping[str, Callable[[object], bool]] = {"summary": _is_score, "not_measured": _is_text}


def unmeasured_lines(plans: Sequence[PlannedCell], bench: "BenchEnvironment") -> list[str]:
    """Return a line per reason why metrics have no value, and one per cell with edits that were not read."""
    from benchmarks.scoring.evaluate import METHOD_REASONS

    reasons: dict[str, list[str]] = {}
    unread = []
    for plan in plans:
        folder = bench.cell_folder(plan.spec.key)
        if read_status(folder).state != "finished":
            continue
        for metric, reason in _read_scores(folder, "not_measured").items():
            if reason not in METHOD_REASONS:
                reasons.setdefault(reason, []).append(metric.partition("/")[2])
        unread += _unread_lines(plan, _read_scores(folder, "summary"))
    lines = [f"not measured: {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]
    return lines + unread


def _unread_lines(plan: PlannedCell, summary: dict[str, float]) -> list[str]:
    failed = {name.partition("/")[0]: n for name, n in summary.items() if name.endswith("/n_failed_readings")}
    of_all = {split: summary.get(f"{split}/n_pairs") or nan for split in failed}
    return [
        f"{plan.spec.name}: the AU instrument could not read {n:.0f} of {of_all[split]:.0f} "
        f"pairs of the split {split}"
        for split, n in failed.items()
        if n
    ]


def plan_text(plans: Sequence[PlannedCell], bench: "BenchEnvironment") -> str:
    """Return the cells that a run would work on, with estimated time and disk, and how these are known."""
    from benchmarks.running.earlier_training import has_weights  # checkpoints bring torch
    from benchmarks.running.expected_cost import expected_cost

    rows, minutes, mib = [], 0.0, 0.0
    for plan in plans:
        folder = bench.cell_folder(plan.spec.key)
        state = read_status(folder).state
        if state == "finished":
            rows.append([plan.spec.name, "reused", "0.0", plan.spec.key, ""])
            continue
        has_its_weights = has_weights(plan.spec, folder, bench.runs)
        cost = expected_cost(plan.row, bench, trains=not has_its_weights)
        minutes, mib = minutes + cost.minutes, mib + cost.mib
        state = f"{state}, weights reused" if has_its_weights else state
        rows.append([plan.spec.name, state, f"{cost.minutes:.1f}", plan.spec.key, cost.source])
    text = table(["cell", "state", "minutes", "key", "minutes known from"], rows)
    return f"{text}\nabout {minutes:.0f} minutes and {mib:.0f} MiB"


def missing_datasets_text(
    suite: "Suite", cells: Iterable[tuple["Row", int]], roles: Sequence[str], bench: "BenchEnvironment"
) -> str:
    """Say that the keys of cells of a suite are not known before its datasets are rendered, and what that
    takes.
    """
    from benchmarks.running.expected_cost import expected_cost

    mib = sum(SYNFACS_IMAGES[role] * suite.image_size**2 * 3 for role in roles) / 2**20
    costs = [(f"{row.name}/{suite.dataset}/s{seed}", expected_cost(row, bench)) for row, seed in cells]
    rows = [[name, f"{cost.minutes:.1f}", cost.source] for name, cost in costs]
    folders = ", ".join(str(bench.dataset_folder(suite, role)) for role in roles)
    total = sum(cost.minutes for _, cost in costs)
    return (
        f"{table(['cell', 'minutes', 'known from'], rows)}\nabout {total:.0f} minutes; "
        f"before that {folders} would be rendered ({mib:.0f} MiB), which decides the cells' keys"
    )
