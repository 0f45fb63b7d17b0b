"""The frames that are kept with the project: they can be read, and the documents say what they say."""

import json
from pathlib import Path

import pandas as pd
import pytest

import reports
from benchmarks.suites import tuned_methods
from benchmarks.suites.suite import find_suite
from reports.study.rerun_statistics import fresh_trials
from reports.suite.claims import CLAIMS
from reports.suite.frame import read_frame
from reports.suite.method_names import method_title
from reports.suite.superseded import superseded_records
from studies.selection import row_of
from studies.study_config import ACCURACY, ERROR
from studies.study_export import read_frame as read_study

ROOT = Path(reports.__file__).parent
FRAMES = sorted(path.parent for path in (ROOT / "results").glob("*/frame.json"))
ABLATED = {
    "eggan-wtp": "E_wtP",
    "eggan-wti": "E_wtI",
    "eggan-wts": "E_wtS",
    "eggan-no-dz": "D_z",
    "eggan-no-dimg": "D_img",
    "eggan-l1-only": "all but L1",
    "eggan-unrounded": "rounding",
}
OF_EARLIER_PROTOCOLS = [path for path in FRAMES if path.name in ("ablations", "twin")]
DOCUMENTS = ROOT.parent / "docs"
ABLATION_COLUMNS = {  # position in the document's rows, digits
    "wide/au/mse": (2, 3),
    "wide/identity/accuracy": (4, 2),
    "wide/pixels/psnr": (5, 2),
}
ON_CROWD_COLUMNS = {
    "wide/au/mse": (2, 3),
    "wide/identity/accuracy": (4, 2),
    "wide/pixels/psnr": (5, 2),
    "wide/pixels/msssim_w3": (6, 3),
}
COLUMNS = {"wide/au/mse": 3, "wide/au/skill": 3, "wide/identity/accuracy": 2}


def document(name: str) -> str:
    return (DOCUMENTS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FRAMES, ids=lambda path: path.name)
def test_a_kept_frame_can_be_read_and_comes_from_clean_trees(folder):
    frame = read_frame(folder)
    assert set(frame.cells["state"]) == {"finished"}
    assert set(frame.cells["dirty"]) == {"false"}
    assert set(frame.cells["run_id"]) == set(frame.pairs["run_id"])


@pytest.mark.parametrize("folder", OF_EARLIER_PROTOCOLS, ids=lambda path: path.name)
def test_the_old_ms_ssim_of_a_kept_frame_is_marked_and_never_given(folder):
    records = json.loads((folder / "frame.json").read_text())["superseded"]
    assert [(record["metric"], record["protocol_versions"]) for record in records] == [("pixels/msssim", [1])]
    frame = read_frame(folder)
    assert superseded_records(frame) == records
    assert frame.pairs["msssim"].isna().all()
    assert not frame.metrics["metric"].str.contains("msssim").any()
    recorded = frame.not_measured[frame.not_measured["metric"] == "wide/pixels/msssim_w3"]
    edited = set(frame.cells.loc[frame.cells["method"] != "mean-au", "run_id"])
    assert set(recorded.loc[recorded["reason"] == records[0]["reason"], "run_id"]) == edited


def test_no_page_judges_no_claim_by_the_old_ms_ssim():
    text = document("ablations")
    results = text[text.index("| without |") : text.index("The report shows Fig. 4")]
    assert "MS-SSIM" not in results.splitlines()[0]
    for claim in (claim for claim in CLAIMS if claim.metric == "pixels/msssim"):
        label = f"| {ABLATED[claim.method]}"
        row = next(line for line in results.splitlines() if line.startswith(label))
        assert "not tested (MS-SSIM)" in row, claim


@pytest.mark.parametrize(
    ("name", "heading", "trained"),
    [
        ("standard", "## Learnt from 1,500 people", ("eggan", "eggan-w", "ganimation", "stargan")),
        ("twin", "## Learnt from 52 people", ("eggan", "eggan-tuned", "ganimation", "stargan")),
    ],
)
def test_a_page_states_the_scores_of_the_kept_runs(name, heading, trained):
    frame = read_frame(ROOT / "results" / name)
    results = document("results").split(f"{heading}\n")[1].split("\n## ")[0]
    means = frame.metrics.groupby(["method", "metric"])["value"].mean()
    for method in (*trained, "homointerpgan"):
        row = next(line for line in results.splitlines() if line.startswith(f"| {method_title(method)} |"))
        for metric, digits in COLUMNS.items():
            printed = f"{means[method, metric]:.{digits}f}"
            assert f"{printed} [" in row or f"{printed}**" in row, (method, metric)


@pytest.mark.parametrize(
    ("suite", "with_eggan", "first", "after", "columns"),
    [
        ("ablations", "twin", "(EGGAN's own values)", "**The MS-SSIM term of Eq. 6", ABLATION_COLUMNS),
        ("ablations-crowd", "standard", "(EGGAN after 1,500 people)", "## EGGAN-W", ON_CROWD_COLUMNS),
    ],
)
def test_a_page_states_the_changes_of_the_kept_ablations(suite, with_eggan, first, after, columns):
    frames = [read_frame(ROOT / "results" / name) for name in (suite, with_eggan)]
    seeds = find_suite(suite).seeds
    metrics = pd.concat([frame.metrics[frame.metrics["seed"].isin(seeds)] for frame in frames])
    text = document("ablations")
    results = text[text.index(f"| {first}") : text.index(after)]
    means = metrics.groupby(["method", "metric"])["value"].mean()
    for method in ABLATED.keys() & {row.name for row in find_suite(suite).rows}:
        row = next(line for line in results.splitlines() if line.startswith(f"| {ABLATED[method]}"))
        for metric, (column, digits) in columns.items():
            change = means[method, metric] - means["eggan", metric]
            printed = row.replace("*", "").split("|")[column].split()[0]
            assert float(printed) == pytest.approx(change, abs=0.51 * 10**-digits), (method, metric)


def test_a_page_states_the_scores_of_the_kept_study():
    data = read_study(ROOT / "results" / tuned_methods.STUDY)
    printed = document("study-results")
    fresh = fresh_trials(data.spec.study, data.reruns).groupby("trial")[[ERROR, ACCURACY]].mean()
    assert set(fresh.index) == {tuned_methods.TRIAL, 25, 5, 0}
    for trial, means in fresh.iterrows():
        row = next(line for line in printed.splitlines() if line.startswith(f"| {trial} "))
        first = [cell.split()[0] if cell.strip() else "" for cell in row.split("|")[1:-1]]
        known = row_of(data.trials, trial)
        assert first[2:4] == [f"{known[ERROR]:.3f}", f"{means[ERROR]:.3f}"]
        assert first[5:7] == [f"{known[ACCURACY]:.1f}", f"{means[ACCURACY]:.1f}"]


def test_the_kept_results_stay_small():
    files = [path for path in (ROOT / "results").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60e6
