import copy
import dataclasses
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState
from PIL import Image

from eggan.errors import UserError
from reports.study import study_figures as figures
from reports.study import study_tables
from reports.study.importance import FANOVA, PED_ANOVA, importances
from reports.study.study_report import build
from reports.style import figure_style, html
from reports.style.figure_style import save
from studies import selection
from studies import space as spaces
from studies.storage.liveness import Heartbeat, begin_trial, this_host
from studies.storage.study_storage import create_study
from studies.study_config import ACCURACY, ERROR, read_spec, write_spec
from studies.study_export import read_frame, read_study, write_frame
from tests.benchmarks.fakes import silent
from tests.studies.fakes import fake_reruns, fake_spec, fake_study

OTHERS = {"history", "pareto", "contours-au-mse"}  # drawn of two objectives, where they differ
FIGURES = {
    "history",
    "pareto",
    "intermediate",
    "importances",
    "slices",
    "contours-identity-accuracy",
    "ranks",
}


def only_sorts_tables(page: str) -> None:
    """The page's one script is the project's own, which nothing that a study says has become a part of."""
    own = (Path(html.__file__).parent / "tables.js").read_text()
    assert page.count("<script") == 1
    assert f"<script>\n{own.rstrip()}" in page


@pytest.fixture(autouse=True, scope="module")
def coarse():
    """Fewer dots: what is tested here is what is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "DPI", 50)
        yield


@pytest.fixture(scope="module", params=["constrained", "pareto"])
def reported(request, tmp_path_factory):
    """A finished study of 16 trials, its two best and the paper's re-run; a report of its four best."""
    folder = tmp_path_factory.mktemp("reported") / "s"
    study = fake_study(folder, request.param, 16)
    data = read_study(folder)
    trials = [*selection.ranked(data.spec.study, data.trials)[:2], 0]
    fake_reruns(folder, study, trials, [101, 102, 103], data.spec.study.images)
    fake_reruns(folder, study, trials, [0], 51_200)
    data = read_study(folder)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pareto":
            patch.setattr(figures, "pictures", lambda data, importances, checks: others(data))
        return data, build(data, folder / "report", 4, silent)


def others(data):
    return [figures.history(data), figures.pareto(data), figures.contours(data, ERROR)]


def test_every_figure_is_there_as_png_and_pdf(reported):
    data, report = reported
    figures = report.page.parent / "figures"
    wanted = OTHERS if data.spec.study.objective == "pareto" else FIGURES | {"contours-au-skill"}
    assert {path.stem for path in figures.glob("*.png")} == wanted
    assert {path.stem for path in figures.glob("*.pdf")} == wanted
    for path in figures.glob("*.png"):
        with Image.open(path) as image:
            assert len(image.convert("L").getcolors()) > 20  # something is drawn
    page = report.page.read_text()
    assert set(re.findall(r'src="figures/([^"]+)\.png"', page)) == wanted


def test_the_page_names_evaluators_and_budget_and_asks_for_nothing_outside(reported):
    data, report = reported
    page = report.page.read_text()
    words = {"25,600 images", "Spearman", "not re-run yet"}
    if data.spec.study.objective == "constrained":
        words |= {"PED-ANOVA (best 20%)", "fANOVA"}
    assert {word for word in words if word not in page} == set()
    only_sorts_tables(page)
    assert not re.search(r'(src|href)="https?:', page)
    assert data.spec.dataset["content_hash"][:12] in page


def test_the_best_are_shown_with_the_bias_of_their_selection(reported):
    data, report = reported
    top = selection.best(data.spec.study, data.trials)
    rows = {row[0]: row for row in report.fresh.rows}
    assert rows[str(top)][1].startswith("best 1")
    assert rows[str(top)][2] == "3"
    assert rows["0"][1] == "paper" or rows["0"][1].endswith(", paper")
    bias = float(rows[str(top)][5].split()[0])
    # the invented re-runs are 0.05 of skill worse, that is 2.3 * 0.05 in MSE of 2.3 for no edit
    expected = 0.05 if data.spec.study.objective == "constrained" else -2.3 * 0.05
    assert bias == pytest.approx(expected, abs=0.02)
    assert any("Selection bias" in finding.text and "flatters" in finding.text for finding in report.findings)
    assert any("than the paper’s weights" in f.text or "from the paper’s" in f.text for f in report.findings)


def test_without_a_papers_weights_the_best_are_compared_with_the_presets(tmp_path, monkeypatch):
    study = fake_study(tmp_path / "s", trials=12)
    space = dataclasses.replace(spaces.SPACES["loss-weights"], reference="preset")
    monkeypatch.setattr(spaces, "SPACES", {"loss-weights": space})
    spec = read_spec(tmp_path / "s")
    top = selection.best(spec.study, read_study(tmp_path / "s").trials)
    fake_reruns(tmp_path / "s", study, [top, 1], [101, 102], spec.study.images)
    data = read_study(tmp_path / "s")
    rows = study_tables.fresh_rows(data, 1)
    assert top != 1
    assert {row.trial: bool(row.against) for row in rows if row.seeds} == {top: True, 1: False}
    assert "AU skill: fresh − preset’s" in study_tables.fresh_table(data, rows).header
    found = [finding.text for finding in study_tables.findings(data, rows, [])]
    assert any("the preset’s weights in AU skill" in text for text in found)
    assert not any("paper" in text for text in found)


def test_tables_are_kept_as_csv_and_markdown(reported):
    _, report = reported
    table = pd.read_csv(report.page.parent / "tables" / "trials.csv")
    assert len(table) == 16
    assert list(table["state"][:3]) == ["complete", "complete", "failed"]
    markdown = (report.page.parent / "tables" / "fresh-seeds.md").read_text()
    assert markdown.count("\n") == 2 + len(report.fresh.rows)


def test_the_hidden_truth_is_found_important(reported):
    data, _ = reported
    _, accuracy = importances(data)
    for evaluator in (PED_ANOVA, FANOVA):
        values = accuracy.values[evaluator]
        assert max(values, key=values.get) == "lambda_id"
        assert sum(values.values()) == pytest.approx(1)


def test_a_score_that_never_changes_has_no_importances(reported):
    data, _ = reported
    flat = copy.deepcopy(data.listed)
    for trial in flat:
        attrs = trial["user_attrs"]
        for scores in (attrs, *(probe[1] for probe in attrs["probes"])):
            scores[ACCURACY] = 0.0
    entries = importances(dataclasses.replace(data, listed=flat))
    assert [entry.metric for entry in entries] == [data.spec.study.headline[0]]


def test_pruned_trials_count_by_what_they_had_when_the_first_was_stopped(reported):
    data, _ = reported
    skill, _ = importances(data)
    failed, pruned = 1, data.spec.study.objective == "constrained"
    assert skill.trials == 16 - failed  # a pruned one is in, a failed one is not
    assert skill.images == (3 if pruned else None)  # the invented ones were pruned at their third validation


def test_a_report_is_rebuilt_without_the_storage(reported, tmp_path):
    data, report = reported
    write_frame(data, tmp_path / "export")
    write_frame(data, tmp_path / "export")  # an earlier export is replaced
    text = (tmp_path / "export" / "trials.json").read_text()
    assert "owner" not in text
    assert "beat" not in text
    exported = read_frame(tmp_path / "export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "pictures", lambda data, importances, checks: [figures.pareto(data)])
        again = build(exported, tmp_path / "report", 4, silent)
    for name in ("fresh-seeds", "trials", "budget-ranks"):
        table = f"tables/{name}.csv"
        assert (tmp_path / "report" / table).read_text() == (report.page.parent / table).read_text()
    assert [f.text for f in again.findings] == [f.text for f in report.findings]
    drawn = (tmp_path / "report" / "figures" / "pareto.png").read_bytes()
    assert drawn == (report.page.parent / "figures" / "pareto.png").read_bytes()
    assert importances(exported) == importances(data)


def test_an_export_keeps_addresses_and_machines_to_itself(tmp_path):
    study = fake_study(tmp_path / "s", trials=4)
    with Heartbeat(begin_trial(study, fake_spec().study), seconds=30.0):
        pass
    spec = read_spec(tmp_path / "s")
    data = read_study(tmp_path / "s")
    object.__setattr__(data.spec, "storage", "postgresql+psycopg://me@inside/db")
    write_frame(data, tmp_path / "export")
    assert "inside" not in (tmp_path / "export" / "study.json").read_text()
    written = b"".join(path.read_bytes() for path in (tmp_path / "export").iterdir())
    assert this_host().encode() not in written
    assert study.trials[-1].user_attrs["owner"]["pid"] == os.getpid()
    assert '"pid"' not in (tmp_path / "export" / "trials.json").read_text()
    assert read_frame(tmp_path / "export").spec == spec
    aside = tmp_path / ".eggan-0123456789abcdef.tmp" / ".old"  # where a killed writer may leave it
    aside.mkdir(parents=True)
    (tmp_path / "export").rename(aside / "export")
    assert read_frame(tmp_path / "export").spec == spec


def test_a_frame_is_never_written_over_something_else(tmp_path):
    fake_study(tmp_path / "s", trials=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not an exported study"):
        write_frame(read_study(tmp_path / "s"), tmp_path / "mine")
    with pytest.raises(UserError, match="holds no exported study"):
        read_frame(tmp_path / "mine")
    write_frame(read_study(tmp_path / "s"), tmp_path / "export")
    (tmp_path / "export" / "trials.json").write_text("[{}]")
    with pytest.raises(UserError, match="is not a whole export"):
        read_frame(tmp_path / "export")
    write_frame(read_study(tmp_path / "s"), tmp_path / "export")
    pd.DataFrame({"trial": []}).to_parquet(tmp_path / "export" / "reruns.parquet")
    with pytest.raises(UserError, match=r"reruns\.parquet lacks the column 'state'"):
        read_frame(tmp_path / "export")


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures out where only words matter: they take seconds."""
    monkeypatch.setattr(figures, "pictures", lambda data, importances, checks: [])


def test_what_a_study_says_cannot_become_markup(tmp_path, undrawn):
    study = fake_study(tmp_path / "s", trials=3)
    again = study.ask(study.trials[0].distributions)
    again.set_user_attr("reason", "<script>alert(1)</script> | x")
    study.tell(again, state=TrialState.FAIL)
    report = build(read_study(tmp_path / "s"), tmp_path / "report", 2, silent)
    page = report.page.read_text()
    only_sorts_tables(page)
    assert "&lt;script&gt;" in page
    assert r"\| x" in (tmp_path / "report" / "tables" / "trials.md").read_text()


def test_a_young_study_is_reported_as_far_as_it_goes(tmp_path):
    study = fake_study(tmp_path / "s", trials=2)
    study.ask(study.trials[0].distributions)  # one is running
    study.enqueue_trial(study.trials[0].params)
    data = read_study(tmp_path / "s")
    assert list(data.trials["state"]) == ["complete", "complete", "running", "waiting"]
    drawn = {picture.key for picture in figures.pictures(data, importances(data), [])}
    assert drawn == FIGURES - {"importances", "ranks"} | {"contours-au-skill"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "pictures", lambda data, importances, checks: [])
        page = build(data, tmp_path / "report", 3, silent).page.read_text()
    assert "Importances need 10 trials with scores that differ" in page
    assert "eggan study confirm s --best 3" in page
    assert "2 of 2 trials have ended" in page


def test_nothing_complete_is_nothing_to_report(eggan, tmp_path):
    spec = fake_spec("young")
    write_spec(spec, tmp_path / "studies" / "young")
    create_study(spec, tmp_path / "studies" / "young", "", {})
    status, _, err = eggan("study", "report", "young", "--runs", tmp_path)
    assert status == 2
    assert "has no complete trial yet" in err
    assert err.count("\n") == 1


def test_report_and_export_from_the_command_line(eggan, tmp_path, undrawn):
    fake_study(tmp_path / "studies" / "s", trials=4)
    status, out, _ = eggan("study", "export", "s", tmp_path / "export", "--runs", tmp_path)
    assert status == 0
    status, out, _ = eggan("study", "report", "--frame", tmp_path / "export", "--out", tmp_path / "page")
    assert status == 0
    assert (tmp_path / "page" / "index.html").as_uri() in out
    (tmp_path / "studies" / "s").rename(tmp_path / "studies" / "renamed")
    status, out, _ = eggan("study", "report", "renamed", "--runs", tmp_path)
    assert (tmp_path / "studies" / "renamed" / "report" / "index.html").as_uri() in out
    assert not (tmp_path / "studies" / "s").exists()
    assert eggan("study", "report", "renamed", "--runs", tmp_path, "--best", "-1")[0] == 2
    spec = tmp_path / "export" / "study.json"
    spec.write_text(spec.read_text().replace('"name": "s"', '"name": "../../outside"'))
    status, _, err = eggan("study", "report", "--frame", tmp_path / "export", "--runs", tmp_path)
    assert (status, "is no plain name" in err) == (2, True)
    assert eggan("study", "report", "--runs", tmp_path)[0] == 2
    assert eggan("study", "report", "s", "--frame", tmp_path / "export", "--runs", tmp_path)[0] == 2


def test_the_history_has_room_for_trials_without_scores_and_for_the_floor(tmp_path):
    study = fake_study(tmp_path / "s", trials=3, identity_floor=90.0)
    for _ in range(6):
        study.tell(study.ask(study.trials[0].distributions), state=TrialState.FAIL)
    data = read_study(tmp_path / "s")
    for axes in figures.history(data).figure.axes:
        low, high = axes.get_xlim()
        assert low < 0
        assert high > 8
    low, high = axes.get_ylim()
    assert low < selection.complete(data.trials)[ACCURACY].min() < 90 < high


def test_only_a_study_of_one_objective_shows_the_floor(tmp_path):
    for objective, dots in (("constrained", True), ("pareto", False)):
        fake_study(tmp_path / objective, trials=5, objective=objective)
        data = read_study(tmp_path / objective)
        for picture in (figures.history(data), figures.pareto(data)):
            assert ("floor" in picture.caption) == dots
            dotted = [line for axes in picture.figure.axes for line in axes.lines if line.get_ls() == ":"]
            assert bool(dotted) == dots


def test_categories_and_steps_are_drawn_too(tmp_path):
    fake_study(tmp_path / "s", trials=5, also=("critic_steps", "latent_dim"))
    data = read_study(tmp_path / "s")
    picture = figures.slices(data)
    labels = {axes.get_xlabel() for axes in picture.figure.axes}
    assert {"critic_steps", "latent_dim"} <= labels
    (panel,) = (axes for axes in picture.figure.axes if axes.get_xlabel() == "latent_dim")
    assert [label.get_text() for label in panel.get_xticklabels()] == ["64", "128", "256", "512"]
    assert len(save(picture, tmp_path)) == 2
    assert (
        len(figures.contours(data, ACCURACY).figure.axes) == 25 + 1
    )  # 21 pairs on a grid of 25, and the bar
