"""A study's report: figures, tables and one static page, without requests; its script sorts tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from eggan.errors import UserError
from eggan.files import replaced_folder
from eggan.options import command
from eggan.progress import working
from reports.study import importance, study_figures, study_tables
from reports.study.rerun_statistics import rank_checks
from reports.style.figure_style import save
from reports.style.finding import Finding
from reports.style.html import PAGE, render, report_files
from reports.style.text_table import TextTable, write_text_tables
from studies.selection import complete
from studies.study_export import StudyData

TEMPLATE = Path(__file__).with_name("study_page.html")
LEADS = {
    "constrained": "Weights that give the highest AU skill while identity accuracy keeps its floor, searched "
    "on validation identities only.",
    "pareto": "Weights that trade AU error against identity accuracy, searched on validation identities "
    "only; no trial is stopped early, since two objectives have no common order.",
}


@dataclass(frozen=True)
class Report:
    """A built report: its page, and what the terminal shows of it."""

    page: Path
    findings: list[Finding]
    fresh: TextTable


def build(data: StudyData, out: Path, best: int, progress: Callable[..., Any]) -> Report:
    """Write `figures/`, `tables/` and `index.html` under `out`, replacing an earlier report there.

    A study without a complete trial has nothing to show: a `UserError`.
    """
    known = report_files(out)
    if not len(complete(data.trials)):
        raise UserError(f"the study {data.spec.name} has no complete trial yet: run it further")
    with working("computing importances"):
        weighed = importance.importances(data)
    with working("bootstrap of the re-runs"):
        checks = rank_checks(data.spec.study, data.trials, data.reruns)
        rows = study_tables.fresh_rows(data, best)
        fresh = study_tables.fresh_table(data, rows)
    ranks = study_tables.rank_table(checks) if checks else None
    trials = study_tables.trials_table(data)
    findings = study_tables.findings(data, rows, checks)
    with working("laying out the figures"):
        drawn = study_figures.pictures(data, weighed, checks)
    with replaced_folder(out, known) as staging:
        write_text_tables([fresh, trials, *([ranks] if ranks else [])], staging / "tables")
        for picture in progress(drawn, len(drawn), "figures"):
            save(picture, staging / "figures")
        page = render(  # which escapes everything that comes from the study
            TEMPLATE,
            title=f"Study {data.spec.name}",
            lead=LEADS[data.spec.study.objective],
            facts=facts(data),
            findings=findings,
            fresh=fresh,
            ranks=ranks,
            trials=trials,
            pictures=drawn,
            commands=_commands(data, rows, best, checks),
            has_importances=bool(weighed),
            no_importances=f"Importances need {importance.LEAST} trials with scores that differ.",
        )
        (staging / PAGE).write_text(page, encoding="utf-8")
    return Report(out / PAGE, findings, fresh)


def _commands(
    data: StudyData, rows: Sequence[study_tables.FreshRow], best: int, checks: Sequence[object]
) -> list[str]:
    """Return the commands that would fill what the page lacks."""
    lines = []
    if any(not row.seeds for row in rows):
        lines.append(command(f"study confirm {data.spec.name} --best {best} --seeds 101 102 103"))
    if not checks:
        trials = " ".join(str(row.trial) for row in rows[:3])
        lines.append(command(f"study ranks {data.spec.name} --trials {trials} --images N"))
    return lines


def facts(data: StudyData) -> list[tuple[str, str]]:
    """Return the lines of the page's head: what was searched, how, on what, for how long."""
    spec, study = data.spec, data.spec.study
    space = "; ".join(f"{name} {_range(d)}" for name, d in spec.space.distributions.items())
    seconds = data.trials["seconds"].fillna(0).sum()
    objective = "least AU MSE and highest identity accuracy"
    if study.has_floor:
        objective = f"highest AU skill with identity accuracy of at least {study.identity_floor:g} %"
    sampler = f"TPE, multivariate: {study.multivariate}, {study.startup_trials} random trials first"
    pairs = f"{study.pairs} pairs, {study.validation_pairs} in between, drawn with seed {study.pairs_seed}"
    budget = f"{study.images:,} images, seeds {', '.join(map(str, study.seeds))}"
    return [
        ("Space", f"{spec.space.name}: {space}"),
        ("Objective", objective),
        ("Trial", f"{study.method}, preset {study.preset}, {budget}"),
        ("Sampler", f"{sampler}, seed {study.sampler_seed}"),
        ("Pruner", _pruner(data)),
        ("Validation", pairs),
        ("Data", f"{spec.dataset['name']}, {spec.dataset['size']} px, {spec.dataset['content_hash'][:12]}"),
        ("Instruments", ", ".join(f"{name} {sha[:12]}" for name, sha in spec.instruments.items())),
        ("Time", f"{seconds / 3600:.1f} h of trials, {data.reruns['seconds'].sum() / 3600:.1f} h of re-runs"),
    ]


def _pruner(data: StudyData) -> str:
    study = data.spec.study
    if not study.prunes:
        return "none"
    start = f"from {study.min_resource:,} images after the warm start"
    return f"successive halving, factor {study.reduction_factor}, {start}"


def _range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(str, distribution.choices))}"
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    return f"{low:g} to {high:g}{', log' if distribution.log else ''}"  # type: ignore[attr-defined]
