"""Tables of a study's report and what may be said of it: re-runs on fresh seeds, budgets, trials."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eggan.evaluation.statistics import Difference, Interval, holm
from reports.study import rerun_statistics as fresh
from reports.study.rerun_statistics import RankCheck
from reports.style.finding import Finding, Tone
from reports.style.text_table import TextTable
from studies import selection
from studies.storage.trials import SCORES
from studies.study_config import ACCURACY, ERROR, SKILL
from studies.study_export import StudyData

NAMES = {ERROR: "AU MSE", SKILL: "AU skill", ACCURACY: "same person, %"}
DIGITS = {ERROR: 3, SKILL: 3, ACCURACY: 1}
NOT_YET = "not re-run yet"
WHOSE = {"paper": "the paper’s", "preset": "the preset’s"}  # the weights that others are compared with


@dataclass(frozen=True)
class FreshRow:
    """A trial in the study and on fresh seeds. Mappings are by score; empty where it was not re-run.

    `against` are the differences from the space's reference.
    """

    trial: int
    role: str
    known: dict[str, float]
    seeds: int
    fresh: dict[str, Interval]
    against: dict[str, Difference]


def fresh_rows(data: StudyData, best: int) -> list[FreshRow]:
    """Return the `best` trials, the references, and whatever else was re-run on fresh seeds."""
    study, frame = data.spec.study, data.trials
    done = fresh.fresh_trials(study, data.reruns)
    order = selection.ranked(study, frame)[:best]
    roles = {number: f"best {place}" for place, number in enumerate(order, 1)}
    for name, number in selection.references(frame).items():
        roles[number] = f"{roles[number]}, {name}" if number in roles else name
    for number in done["trial"]:
        roles.setdefault(int(number), "")
    return [_fresh_row(data, done, number, role) for number, role in roles.items()]


def _fresh_row(data: StudyData, done: pd.DataFrame, trial: int, role: str) -> FreshRow:
    row, metrics = selection.row_of(data.trials, trial), data.spec.study.headline
    known = {metric: float(row[metric]) for metric in metrics}
    seeds = int((done["trial"] == trial).sum())
    if not seeds:
        return FreshRow(trial, role, known, 0, {}, {})
    pairs = _fresh_pairs(data, done, trial)
    measured = {metric: fresh.estimate(pairs, metric, trial) for metric in metrics}
    reference = selection.references(data.trials).get(data.spec.space.reference)
    compared = {}
    if reference is not None and reference != trial and (done["trial"] == reference).any():
        other = _fresh_pairs(data, done, reference)
        both = {metric: fresh.compare(pairs, other, metric, trial) for metric in metrics}
        compared = {metric: difference for metric, difference in both.items() if difference is not None}
    return FreshRow(trial, role, known, seeds, measured, compared)


def _fresh_pairs(data: StudyData, done: pd.DataFrame, trial: int) -> pd.DataFrame:
    pairs = fresh.of_trial(data.pairs, trial, data.spec.study.images)
    return pairs[pairs["seed"].isin(done["seed"])].reset_index(drop=True)


def fresh_table(data: StudyData, rows: Sequence[FreshRow]) -> TextTable:
    """Return what the study found beside what fresh seeds say of it."""
    header, lines = ["trial", "", "fresh seeds"], []
    minus = f"fresh − {data.spec.space.reference}’s"
    for metric in data.spec.study.headline:
        name = NAMES[metric]
        header += [f"{name}: {what}" for what in ("study", "fresh seeds", "study − fresh", minus)]
    adjusted = {metric: _adjusted(rows, metric) for metric in data.spec.study.headline}
    for row in rows:
        line = [str(row.trial), row.role, str(row.seeds)]
        for metric in data.spec.study.headline:
            line += _fresh_cells(row, metric, adjusted[metric].get(row.trial, math.nan))
        lines.append(tuple(line))
    caption = (
        "The study’s score chose the trial, so it flatters it: “study − fresh” is that bias (and the luck "
        "of the study’s seed). Brackets: 95 % crossed bootstrap over source people, targets and fresh seeds; "
        f"with one seed they cover no training. “{minus}” is paired by seed and pair; p is "
        "Holm-adjusted over the rows. The validation people are the study’s: what favours them remains."
    )
    return TextTable("fresh-seeds", "The best trials on fresh seeds", caption, tuple(header), tuple(lines))


def _fresh_cells(row: FreshRow, metric: str, p_value: float) -> list[str]:
    digits = DIGITS[metric]
    known = f"{row.known[metric]:.{digits}f}"
    if metric not in row.fresh:
        return [known, NOT_YET, "", ""]
    measured = row.fresh[metric]
    bias = row.known[metric] - measured.estimate, row.known[metric] - measured.high
    flattery = _bracketed(bias[0], bias[1], row.known[metric] - measured.low, digits, sign=True)
    difference = row.against.get(metric)
    compared = "" if difference is None else _interval(difference, digits, sign=True) + f" p = {p_value:.3f}"
    return [known, _interval(measured, digits), flattery, compared]


def _interval(value: Interval, digits: int, sign: bool = False) -> str:
    return _bracketed(value.estimate, value.low, value.high, digits, sign)


def _bracketed(value: object, low: object, high: object, digits: int, sign: bool = False) -> str:
    first, second, third = (float(np.asarray(number)) for number in (value, low, high))
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{first:{form}} [{second:{form}}, {third:{form}}]"


def _adjusted(rows: Sequence[FreshRow], metric: str) -> dict[int, float]:
    """Return the Holm-adjusted p-values of the comparisons with the reference, by trial."""
    compared = [row for row in rows if metric in row.against]
    raw = np.array([float(row.against[metric].p_value) for row in compared])
    return {row.trial: float(p) for row, p in zip(compared, holm(raw), strict=True)}


def rank_table(checks: Sequence[RankCheck]) -> TextTable:
    """Return both rankings of each check with their correlations."""
    lines = []
    for check in checks:
        digits = DIGITS[check.metric]
        one, two = check.ranks(check.small), check.ranks(check.large)
        for index, trial in enumerate(check.trials):
            first, second = check.small[index], check.large[index]
            lines.append(
                (
                    NAMES[check.metric],
                    f"{check.images}",
                    str(trial),
                    f"{first:.{digits}f} ({one[index]})",
                    f"{second:.{digits}f} ({two[index]})",
                    f"{check.spearman:.2f}",
                    f"{check.kendall:.2f}",
                )
            )
    ranks = ("in the study (rank)", "on that budget (rank)")
    header = ("score", "images", "trial", *ranks, "Spearman", "Kendall")
    seeds = sorted({seed for check in checks for seed in check.seeds})
    caption = (
        f"Trials trained again on another budget, means over seeds {', '.join(map(str, seeds))}. With so few "
        "trials a correlation of 1 says that these were ranked alike, not that all would be."
    )
    return TextTable("budget-ranks", "Budgets and rankings", caption, header, tuple(lines))


def trials_table(data: StudyData) -> TextTable:
    """Return every trial with state, parameters, scores and run id."""
    names, frame = list(data.spec.space.distributions), data.trials
    titles = {**NAMES, "val/au_b/mse": "AU MSE by estimator b"}
    metrics = [name for name in SCORES if name in titles]
    lines = []
    for _, row in frame.iterrows():
        params = [_number(row.get(f"params_{name}")) for name in names]
        scores = [_number(row[name]) for name in metrics]
        texts = [str(row[name]) for name in ("number", "reference", "state", "reason")]
        lines.append((*texts, *params, *scores, str(row["run_id"])[:12]))
    header = ("trial", "", "state", "reason", *names, *(titles[name] for name in metrics), "run")
    caption = "Scores on validation identities; pruned and failed trials have none."
    return TextTable("trials", "All trials", caption, header, tuple(lines))


def _number(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def findings(data: StudyData, rows: Sequence[FreshRow], checks: Sequence[RankCheck]) -> list[Finding]:
    """Return what may be said: how far the study is, whether it beats the reference, its bias."""
    return [_progress(data), *_against_reference(data, rows), *_bias(data, rows), *_ranks(checks)]


def _progress(data: StudyData) -> Finding:
    states = data.trials["state"].value_counts()
    over = int(sum(states.get(state, 0) for state in ("complete", "pruned", "failed")))
    wanted = data.spec.study.trials
    split = ", ".join(f"{states.get(state, 0)} {state}" for state in ("complete", "pruned", "failed"))
    tone: Tone = "good" if over >= wanted else "open"
    return Finding(tone, f"{over} of {wanted} trials have ended: {split}.")


def _against_reference(data: StudyData, rows: Sequence[FreshRow]) -> list[Finding]:
    """Say of the best trial what a paired comparison on fresh seeds allows."""
    reference = data.spec.space.reference
    whose = WHOSE[reference]
    top = next((row for row in rows if row.role.startswith("best 1")), None)
    if top is None:
        floor = data.spec.study.identity_floor
        return [Finding("bad", f"No complete trial keeps the floor of {floor:g} % identity accuracy.")]
    if reference in top.role:
        own = f"{whose.capitalize()} own weights (trial {top.trial}) are the best that was found."
        return [Finding("open", own)]
    if not top.against:
        return [Finding("open", f"Trial {top.trial} leads; it was not compared with {whose} on fresh seeds.")]
    return [
        _comparison(top, metric, _adjusted(rows, metric)[top.trial], whose)
        for metric in data.spec.study.headline
    ]


def _comparison(row: FreshRow, metric: str, p_value: float, whose: str) -> Finding:
    difference = row.against[metric]
    better = (float(difference.estimate) < 0) == (metric == ERROR)
    sure = p_value < 0.05
    verdict = ("better" if better else "worse") + " than" if sure else "not surely different from"
    text = (
        f"On {row.seeds} fresh seeds trial {row.trial} is {verdict} {whose} weights in {NAMES[metric]}: "
        f"{_interval(difference, DIGITS[metric], sign=True)}, adjusted p = {p_value:.3f}."
    )
    return Finding("open" if not sure else ("good" if better else "bad"), text)


def _bias(data: StudyData, rows: Sequence[FreshRow]) -> list[Finding]:
    """Say how much the selected trials lose on fresh seeds, beside what the references lose."""
    metric = data.spec.study.headline[0]
    selected = [row for row in rows if row.role.startswith("best") and metric in row.fresh]
    if not selected:
        return [
            Finding("open", "No selected trial was re-run on fresh seeds: the selection bias is unknown.")
        ]
    lost = [row.known[metric] - float(row.fresh[metric].estimate) for row in selected]
    mean = float(np.mean(lost))
    flattering = mean < 0 if metric == ERROR else mean > 0
    text = (
        f"Selection bias in {NAMES[metric]}: the study’s scores of the best {len(selected)} differ from "
        f"their means over fresh seeds by {mean:+.{DIGITS[metric]}f} on average"
        f"{' (the study flatters them)' if flattering else ''}."
    )
    return [Finding("open", text)]


def _ranks(checks: Sequence[RankCheck]) -> list[Finding]:
    found = []
    for check in checks:
        what = f"{len(check.trials)} trials as {check.images} images do in {NAMES[check.metric]}"
        if math.isnan(check.spearman):
            text = (
                f"Whether the study’s budget ranks {what} cannot be said: their scores are equal on one side."
            )
            found.append(Finding("open", text))
            continue
        verb = "ranks" if check.agrees else "does not rank"
        agreement = f"Spearman {check.spearman:.2f}, Kendall {check.kendall:.2f}"
        text = f"The study’s budget {verb} {what} ({agreement})."
        found.append(Finding("good" if check.agrees else "bad", text))
    return found or [Finding("open", "Whether a larger budget ranks the trials alike was not tried.")]
