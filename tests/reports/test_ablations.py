"""A made-up suite in which it is known what each part of EGGAN does, and one of EGGAN-W's."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from eggan.aus import AU_COLUMNS
from eggan.evaluation.statistics import holm
from reports.style import table_writers
from reports.suite import ablation_tables, estimates, suite_figures, suite_findings
from reports.suite.ablation_figures import ablation_grids
from reports.suite.claims import CLAIMS, claim_findings
from reports.suite.method_names import ABLATIONS, method_kind, method_rank, method_title
from reports.suite.sections import sections_of
from reports.suite.suite_report import build, section_tables
from tests.reports.drawn import images, texts
from tests.reports.fakes import make_frame, run, showcase
from tests.reports.test_tables import quiet

READ = [f"a_{column}" for column in AU_COLUMNS]
COPIED = [f"source_a_{column}" for column in AU_COLUMNS]


def less_like_the_truth(pairs):
    return pairs.assign(msssim=pairs["msssim"] - 0.1 + 0.01 * pairs["pair"] % 0.02)


def other_people(pairs):
    return pairs.assign(same=pairs["pair"] % 5 == 0)


def half_the_edit(pairs):
    halves = 0.5 * (pairs[READ].to_numpy() + pairs[COPIED].to_numpy())
    return pairs.assign(**dict(zip(READ, halves.T, strict=True)))


def unchanged(pairs):
    return pairs


# variant -> seeds, what becomes of EGGAN's pairs
MADE_UP = {
    "eggan-wtp": (3, less_like_the_truth),
    "eggan-wti": (3, unchanged),
    "eggan-wts": (3, lambda pairs: half_the_edit(pairs).assign(msssim=pairs["msssim"] + 0.1)),
    "eggan-no-dz": (1, half_the_edit),
    "eggan-no-dimg": (1, other_people),
}


def with_variants(frame, made_up=MADE_UP, lost="eggan-l1-only"):
    """Return a frame with variants made from EGGAN's own runs, and one whose training failed."""
    parts = {name: [getattr(frame, name)] for name in ("cells", "pairs", "metrics", "settings")}
    shown = dict(frame.showcases)
    for method, (seeds, change) in made_up.items():
        for seed in range(seeds):
            names = {"method": method, "run_id": f"{method}-s{seed}"}
            for table in ("pairs", "metrics"):
                rows = getattr(frame, table)
                rows = rows[(rows["method"] == "eggan") & (rows["seed"] == seed)]
                parts[table].append((change(rows) if table == "pairs" else rows).assign(**names))
            shown[names["run_id"]] = showcase(method)
            parts["cells"].append(pd.DataFrame([run(method, seed)]))
    parts["cells"].append(pd.DataFrame([run(lost, 0, "failed", "loss id became NaN")]))
    own = {"run_id": "eggan-s0", "setting": "config.perceptual_on", "value": "c_id"}
    parts["settings"].append(pd.DataFrame([own]))
    tables = {name: pd.concat(pieces, ignore_index=True) for name, pieces in parts.items()}
    return dataclasses.replace(frame, showcases=shown, **tables)


@pytest.fixture(autouse=True, scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 100)
        patch.setattr(estimates, "DIFFERENCE_RESAMPLES", 1000)
        patch.setattr(suite_figures, "ROWS", 4)
        yield


@pytest.fixture(scope="module")
def frame():
    return with_variants(make_frame(failed=False))


@pytest.fixture(scope="module")
def section(frame):
    return sections_of(frame, quiet)[0]


@pytest.fixture(scope="module")
def found(frame, section):
    return ablation_tables.ablations_of(frame, section)


def change(found, method, key):
    effects = found.effects[method]
    at = found.position(key)
    difference = effects.difference
    return difference.estimate[at], difference.low[at], difference.high[at], effects.adjusted[at]


def test_variants_stand_between_eggan_and_the_oracle_and_count_as_methods():
    order = sorted(["oracle", "eggan-wts", "eggan", "eggan-wtp", "stargan"], key=method_rank)
    assert order == ["stargan", "eggan", "eggan-wtp", "eggan-wts", "oracle"]
    assert method_title("eggan-wtp") == "E_wtP (no perceptual loss)"
    assert {method_kind(name) for name in ABLATIONS} == {"method"}


def test_changes_are_the_differences_of_the_summarys_values(frame, section, found):
    estimate, low, high, p = change(found, "eggan-wts", "au/mse")
    rows = section.intervals["eggan-wts", "mse"], section.intervals["eggan", "mse"]
    assert estimate == pytest.approx(rows[0].estimate[-1] - rows[1].estimate[-1])
    assert 0 < low < estimate < high
    assert p < 0.05
    pcc = change(found, "eggan-wts", "au/pcc")[0]
    assert pcc == pytest.approx(
        section.intervals["eggan-wts", "pcc"].estimate[-1] - section.intervals["eggan", "pcc"].estimate[-1]
    )
    skill = change(found, "eggan-wts", "au/skill")[0]
    assert skill == pytest.approx(section.skills["eggan-wts"].estimate - section.skills["eggan"].estimate)
    pairs = frame.pairs.set_index("method")["same"]
    same = 100 * (pairs["eggan-no-dimg"].mean() - pairs["eggan"].mean())
    assert change(found, "eggan-no-dimg", "identity/accuracy")[0] == pytest.approx(same)


def test_a_variant_that_changes_nothing_has_no_effect(found):
    for key in ("au/mse", "au/pcc", "au/skill", "identity/accuracy", "pixels/psnr", "pixels/msssim"):
        estimate, low, high, p = change(found, "eggan-wti", key)
        assert (estimate, low, high) == (0, 0, 0)
        assert p == 1


def test_edits_that_the_instrument_cannot_read_are_left_out_of_both_sides_aus_alone(frame):
    """What EGGAN did on those pairs must not count against what the variant did on the others."""
    unread = (frame.pairs["method"] == "eggan-wts") & (frame.pairs["pair"] < 10)
    blind = frame.pairs.copy()
    blind.loc[unread, READ] = np.nan
    faked = dataclasses.replace(frame, pairs=blind)
    section = sections_of(faked, quiet)[0]
    found = ablation_tables.ablations_of(faked, section)
    kept = frame.pairs[frame.pairs["pair"] >= 10]
    parts = {}
    for method in ("eggan", "eggan-wts"):
        mine = kept[kept["method"] == method]
        target = mine[[f"target_{column}" for column in AU_COLUMNS]].to_numpy()
        parts[method] = np.square(mine[READ].to_numpy() - target).mean()
    assert change(found, "eggan-wts", "au/mse")[0] == pytest.approx(parts["eggan-wts"] - parts["eggan"])
    assert change(found, "eggan-wts", "pixels/msssim")[0] == pytest.approx(0.1)


def test_p_values_are_adjusted_over_the_variants(found):
    at = found.position("au/mse")
    raw = np.array([effects.difference.p_value[at] for effects in found.effects.values()])
    adjusted = np.array([effects.adjusted[at] for effects in found.effects.values()])
    np.testing.assert_array_equal(adjusted, holm(raw))
    assert (adjusted[raw < 0.01] > raw[raw < 0.01]).any()


def test_the_table_shows_values_changes_one_seed_rows_and_failures(found):
    table = ablation_tables.ablation_table(found)
    rows = {row.label: row for row in table.rows}
    assert table.columns[0] == "MSE, estimator A ↓"
    assert "LPIPS ↓" not in table.columns  # not measured in these runs
    assert rows["EGGAN, all parts (values)"].entries[0].value > 0
    wts = rows["E_wtS (no MS-SSIM)"]
    assert wts.entries[0].best
    assert wts.entries[0].remark.startswith("p")
    assert (wts.group, wts.evidence.seeds_text) == (ablation_tables.PAPERS, "3")
    one = rows["no D_z (no latent adversary)"]
    assert (one.group, one.evidence.seeds_text) == (ablation_tables.FURTHER, "1")
    assert {e.text for e in rows[method_title("eggan-l1-only")].entries} == {"failed"}
    notes = " ".join(table.notes)
    assert "One training: no D_z (no latent adversary), no D_img (no image adversary)." in notes
    assert "loss id became NaN" in notes
    assert "E_wtS" in table_writers.markdown(table)
    assert r"\(" not in table_writers.latex(table)


def finding_on(frame, section, method, word=""):
    stated = claim_findings(frame, [ablation_tables.ablations_of(frame, section)])
    (one,) = [v for v in stated if v.text.startswith(method_title(method)) and word in v.text]
    return one


def test_claims_hold_fail_or_stay_open_as_the_numbers_say(frame, section):
    good = finding_on(frame, section, "eggan-wtp", "fine semantic information")
    assert good.tone == "good"
    assert "MS-SSIM (window 3) changes by -0.0" in good.text
    assert "the claim holds here" in good.text
    unmoved = finding_on(frame, section, "eggan-wti")
    assert unmoved.tone == "open"
    assert "not shown here" in unmoved.text
    assert finding_on(frame, section, "eggan-wts", "expected expressions").tone == "good"
    opposite = finding_on(frame, section, "eggan-wts", "global facial shape")
    assert opposite.tone == "bad"
    assert "the opposite does" in opposite.text


def test_one_training_carries_no_claim_however_large_the_effect(frame, section):
    stated = finding_on(frame, section, "eggan-no-dz")
    assert stated.tone == "open"
    assert "points the claim's way, but rests on 1 training where a claim needs 3" in stated.text
    unclaimed = finding_on(frame, section, "eggan-no-dimg")
    assert unclaimed.tone == "open"
    assert "Accuracy changes by -" in unclaimed.text
    assert "percentage points" in unclaimed.text
    assert "this is no claim" in unclaimed.text


def test_a_full_model_of_one_seed_carries_no_claim_either(frame):
    first = (frame.cells["method"] != "eggan") | (frame.cells["seed"] == 0)
    pairs = (frame.pairs["method"] != "eggan") | (frame.pairs["seed"] == 0)
    thin = dataclasses.replace(frame, cells=frame.cells[first], pairs=frame.pairs[pairs])
    stated = finding_on(thin, sections_of(thin, quiet)[0], "eggan-wtp", "fine semantic information")
    assert stated.tone == "open"
    assert "rests on 1 training" in stated.text


def test_a_failed_variant_and_features_of_c_id_are_told(frame, section):
    assert "seed 0 failed: loss id became NaN" in finding_on(frame, section, "eggan-l1-only").text
    stated = claim_findings(frame, [ablation_tables.ablations_of(frame, section)])
    assert "features of C_id" in stated[-1].text
    plain = dataclasses.replace(frame, settings=frame.settings[frame.settings["value"] != "c_id"])
    assert (
        "features of C_id"
        not in claim_findings(plain, [ablation_tables.ablations_of(plain, section)])[-1].text
    )


def test_a_claim_whose_metric_was_not_measured_is_not_tested(frame):
    blind = dataclasses.replace(frame, pairs=frame.pairs.assign(msssim=np.nan))
    stated = finding_on(blind, sections_of(blind, quiet)[0], "eggan-wtp", "fine semantic information")
    assert stated.tone == "open"
    assert "Not tested here: pixels/msssim was not measured" in stated.text


def test_without_eggans_scores_nothing_is_judged(frame):
    alone = dataclasses.replace(frame, pairs=frame.pairs[frame.pairs["method"] != "eggan"])
    section = sections_of(alone, quiet)[0]
    found = ablation_tables.ablations_of(alone, section)
    (stated,) = (v for v in claim_findings(alone, [found]) if v.text.startswith("Ablations on"))
    assert stated.tone == "bad"
    assert "ablations" not in section_tables(alone, section, found)


def test_claims_are_judged_once_per_dataset_on_the_headline_split():
    frame = with_variants(make_frame(splits=("wide", "test"), failed=False))
    sections = sections_of(frame, quiet)
    stated = claim_findings(frame, [ablation_tables.ablations_of(frame, s) for s in sections])
    assert len([v for v in stated if "E_wtI" in v.text and "the paper says" in v.text]) == 1
    assert all("wide test split" in v.text for v in stated if "the paper says" in v.text)


def test_every_claim_is_about_a_variant_and_a_metric_of_the_table():
    assert {claim.method for claim in CLAIMS} <= set(ABLATIONS)
    assert {claim.metric for claim in CLAIMS} <= set(ablation_tables.KEYS)


def test_one_seed_variants_do_not_make_the_suite_preliminary(frame, section):
    texts = [finding.text for finding in suite_findings.findings(frame, [section])]
    assert any(text.startswith("3 seeds carry claims") for text in texts)
    assert not any(text.startswith("E_wtP") for text in texts)


def test_a_suite_without_ablations_has_no_ablation_table_or_figure():
    plain = make_frame(seeds=1)
    section = sections_of(plain, quiet)[0]
    assert ablation_tables.ablations_of(plain, section) is None
    assert "ablations" not in section_tables(plain, section)
    assert ablation_grids(plain) == []
    assert claim_findings(plain, []) == []


def test_fig_4_shows_the_same_face_source_truth_eggan_and_each_finished_variant(frame):
    (picture,) = ablation_grids(frame)
    shown, written = images(picture.figure), texts(picture.figure)
    columns = ["source", "true edit", "EGGAN", "E_wtP", "E_wtI", "E_wtS", "no D_z", "no D_img"]
    assert [text for text in written if text in columns] == columns
    assert [text for text in written if text not in columns] == [
        "angry",
        "contemptuous",
        "disgusted",
        "fearful",
    ]
    assert len(shown) == 4 * len(columns)
    eggan, wtp = showcase("eggan"), showcase("eggan-wtp")
    np.testing.assert_array_equal(shown[0], eggan["source"][0])
    np.testing.assert_array_equal(shown[1], eggan["truth"][0, 1])
    np.testing.assert_array_equal(shown[3], wtp["edits"][0, 1])
    assert "no D_z: no latent adversary" in picture.caption


def test_fig_2_leaves_the_variants_to_fig_4(frame):
    (grid, *_) = suite_figures.pictures(frame, [])
    assert not {method_title(name) for name in ABLATIONS} & set(texts(grid.figure))


# EGGAN-W, some of its variants and the row without true edits.
MADE_UP_W = {
    "eggan-w-unpaired": (1, half_the_edit),
    "eggan-w-no-flow": (1, less_like_the_truth),
    "eggan-w-no-disturbance": (3, unchanged),
}


@pytest.fixture(scope="module")
def frame_w():
    made = with_variants(make_frame(failed=False), MADE_UP_W, lost="eggan-w-free")
    names = {"method": {"eggan": "eggan-w"}}
    tables = {name: getattr(made, name).replace(names) for name in ("cells", "pairs", "metrics")}
    return dataclasses.replace(made, **tables)


def test_eggan_w_is_what_its_own_ablations_are_compared_with(frame_w):
    section = sections_of(frame_w, quiet)[0]
    found = ablation_tables.ablations_of(frame_w, section)
    assert found.of == "eggan-w"
    assert change(found, "eggan-w-no-disturbance", "au/mse")[:3] == (0, 0, 0)
    assert change(found, "eggan-w-unpaired", "au/mse")[0] == pytest.approx(
        section.intervals["eggan-w-unpaired", "mse"].estimate[-1]
        - section.intervals["eggan-w", "mse"].estimate[-1]
    )
    table = section_tables(frame_w, section, found)["ablations"]
    assert table.title.startswith("EGGAN-W without its parts")
    rows = {row.label: row for row in table.rows}
    assert list(rows) == [
        "EGGAN-W, all parts (values)",
        "EGGAN-W (no true edits)",
        "no flow (paints, moves nothing)",
        "undisturbed (learns from renders as they are)",
        "free parts (neither smooth flow nor sparse paint)",
    ]
    assert rows["EGGAN-W (no true edits)"].entries[0].best
    assert {row.group for row in table.rows[1:]} == {ablation_tables.OWN}
    assert "every finished seed of EGGAN-W;" in " ".join(table.notes)


def test_of_eggan_ws_parts_the_paper_is_not_quoted(frame_w):
    section = sections_of(frame_w, quiet)[0]
    stated = claim_findings(frame_w, [ablation_tables.ablations_of(frame_w, section)])
    assert len(stated) == len(MADE_UP_W) + 1
    quoting = ("the paper makes", "the paper says", "C_id")
    assert [f.text for f in stated if any(words in f.text for words in quoting)] == []
    alone = dataclasses.replace(frame_w, pairs=frame_w.pairs[frame_w.pairs["method"] != "eggan-w"])
    lost = ablation_tables.ablations_of(alone, sections_of(alone, quiet)[0])
    assert "EGGAN-W has no scores to compare with" in claim_findings(alone, [lost])[0].text


def test_the_grid_of_eggan_w_shows_it_and_what_it_lacks(frame_w):
    (picture,) = ablation_grids(frame_w)
    columns = ["source", "true edit", "EGGAN-W", "no true edits", "no flow", "undisturbed"]
    assert [text for text in texts(picture.figure) if text in columns] == columns
    assert picture.title == "EGGAN-W without each part (synfacs-twin-64)"
    assert "no flow: paints, moves nothing" in picture.caption


def test_the_row_without_true_edits_alone_makes_no_ablation():
    """As in the suite `standard`: a method like any other there."""
    assert ablation_tables.ablations_among(["oracle", "eggan-w", "eggan-w-unpaired"]) is None
    of, parts = ablation_tables.ablations_among(["eggan-w", "eggan-w-unpaired", "eggan-wtp", "eggan-w-free"])
    assert (of, [part.name for part in parts]) == ("eggan-w", ["eggan-w-unpaired", "eggan-w-free"])


def test_the_page_has_the_table_the_grid_and_the_claims(frame, tmp_path, monkeypatch):
    monkeypatch.setattr("reports.style.figure_style.DPI", 40)
    monkeypatch.setattr(suite_figures, "pictures", lambda *_: [])  # those of every suite
    report = build(frame, tmp_path / "report", quiet)
    page = report.page.read_text()
    assert "EGGAN without its parts" in page
    assert "figures/fig4-ablations-synfacs-twin-64.png" in page
    assert "the claim holds here" in page
    assert (report.page.parent / "figures" / "fig4-ablations-synfacs-twin-64.pdf").stat().st_size > 1000
    assert any(table.key.startswith("ablations-") for table in report.overview)
