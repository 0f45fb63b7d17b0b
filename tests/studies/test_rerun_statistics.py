import numpy as np
import pandas as pd
import pytest

from benchmarks.scoring import scores
from eggan.aus import AU_COLUMNS, EXPRESSIONS
from reports.study import rerun_statistics
from reports.study.rerun_statistics import RankCheck, rank_checks
from studies.reruns.rerun import pair_scores
from studies.study_config import ACCURACY, ERROR, SKILL, StudyConfig

STUDY = StudyConfig(images=100)


def au_frame(rng, unread=()):
    """A pair table as the benchmark's scores make it, for 24 pairs of 4 people and 6 targets."""
    names = {"target": 0.0, "a": 0.4, "source_a": 1.0}
    truth = rng.uniform(0, 5, (24, 17))
    parts = [
        pd.DataFrame(truth + rng.normal(0, 1, truth.shape) * wide, columns=[f"{n}_{c}" for c in AU_COLUMNS])
        for n, wide in names.items()
    ]
    table = pd.concat(parts, axis=1).assign(
        pair=range(24), source_identity=np.repeat(list("abcd"), 6), target_row=np.tile(range(6), 4)
    )
    table = table.assign(target_identity="q", target_expression=np.tile(EXPRESSIONS[:6], 4))
    table.loc[list(unread), "a_au01"] = np.nan
    return table.assign(same=rng.random(24) < 0.7, similarity=0.5)


def test_pictures_of_one_pose_are_no_evidence_of_their_own():
    """Three pictures of each expression widen nothing and narrow nothing, whatever rows they have."""
    frame = au_frame(np.random.default_rng(0))
    thrice = pd.concat([frame.assign(target_row=frame["target_row"] * 3 + k) for k in range(3)])
    once, again, alone = (
        rerun_statistics.estimate(pair_scores(table).assign(seed=1), ERROR)
        for table in (frame, thrice, thrice.assign(target_expression=""))
    )
    np.testing.assert_allclose([again.low, again.high], [once.low, once.high], rtol=0.05)
    assert alone.high - alone.low < 0.9 * (once.high - once.low)


def test_re_runs_of_earlier_versions_know_the_picture_alone():
    pairs = pair_scores(au_frame(np.random.default_rng(0))).assign(seed=1)
    before = pairs.drop(columns="target_pose")
    mixed = pd.concat([before.assign(seed=2), pairs])
    first, second = (rerun_statistics.estimate(table, ERROR) for table in (pairs, before))
    np.testing.assert_allclose([first.low, first.high], [second.low, second.high], rtol=0.05)
    assert np.isfinite(rerun_statistics.estimate(mixed, ERROR).low)


def test_reduced_pairs_have_the_scores_of_the_whole_table():
    frame = au_frame(np.random.default_rng(0), unread=[3])
    frame = pd.concat([frame, frame.filter(like="a_au").add_prefix("b_")[[]]], axis=1)
    for column in AU_COLUMNS:
        frame[f"b_{column}"] = frame[f"a_{column}"]
    summary = scores.au_summary(frame)
    pairs = pair_scores(frame).assign(seed=1)
    assert (len(pairs), int(pairs["error"].isna().sum())) == (24, 1)  # unread: no AUs, but still a person
    for metric, name in ((ERROR, "au/mse"), (SKILL, "au/skill")):
        assert float(rerun_statistics.estimate(pairs, metric).estimate) == pytest.approx(summary[name])
    assert float(rerun_statistics.estimate(pairs, ACCURACY).estimate) == pytest.approx(
        100 * pairs["same"].mean()
    )


def made_pairs(trial, error, seeds=(1, 2, 3), images=100, noise=0.0):
    rng = np.random.default_rng([trial, len(seeds)])
    parts = []
    for seed in seeds:
        table = pd.DataFrame(
            {
                "pair": range(24),
                "source_identity": np.repeat(list("abcd"), 6),
                "target_row": np.tile(range(6), 4),
                "copied": 2.0,
                "error": error + noise * rng.normal(size=24),
                "same": 1.0,
            }
        )
        parts.append(table.assign(trial=trial, seed=seed, images=images))
    return pd.concat(parts, ignore_index=True)


def test_an_interval_covers_its_estimate_and_widens_with_noise():
    quiet, loud = (rerun_statistics.estimate(made_pairs(0, 1.0, noise=n), ERROR, 0) for n in (0.05, 0.5))
    for interval in (quiet, loud):
        assert interval.low < interval.estimate < interval.high
    assert loud.high - loud.low > 5 * (quiet.high - quiet.low)


def test_a_comparison_is_paired_by_seed_and_pair():
    noise = np.tile(np.random.default_rng(0).normal(0, 0.5, 24), 3)
    first, second = (
        made_pairs(trial, level).assign(error=level + noise) for trial, level in ((0, 1.0), (1, 1.2))
    )
    difference = rerun_statistics.compare(first, second.sample(frac=1, random_state=0), ERROR)
    assert float(difference.low) == pytest.approx(-0.2)  # what is common to both does not widen it
    assert float(difference.high) == pytest.approx(-0.2)
    assert float(difference.p_value) < 0.01
    assert rerun_statistics.compare(first, second.assign(seed=second["seed"] + 10), ERROR) is None


def reruns(*rows):
    """Rows of (trial, seed, images, skill, accuracy)."""
    names = ["trial", "seed", "images", SKILL, ACCURACY]
    return pd.DataFrame(rows, columns=names).assign(state="finished")


def trials(*skills):
    return pd.DataFrame(
        {"number": range(len(skills)), SKILL: skills, ACCURACY: np.arange(len(skills)) * 10.0}
    )


def test_ranks_are_compared_by_means_over_common_seeds():
    table = reruns(
        (0, 0, 400, 0.2, 10.0),
        (1, 0, 400, 0.3, 20.0),
        (2, 0, 400, 0.6, 5.0),
        (2, 1, 400, 0.0, 5.0),  # no other trial has this seed
        (0, 0, 100, 9.0, 9.0),  # the study's own budget
    )
    skill, accuracy = rank_checks(STUDY, trials(0.1, 0.2, 0.3), table)
    assert (skill.images, skill.trials, skill.seeds) == (400, (0, 1, 2), (0,))
    assert skill.large == (0.2, 0.3, 0.6)
    assert skill.agrees
    assert skill.spearman == skill.kendall == pytest.approx(1.0)
    assert accuracy.ranks(accuracy.small) == [3, 2, 1]
    assert accuracy.ranks(accuracy.large) == [2, 1, 3]
    assert not accuracy.agrees
    assert accuracy.spearman == pytest.approx(-0.5)


def test_less_error_ranks_first():
    check = RankCheck(ERROR, 400, (0,), (0, 1), (2.0, 1.0), (1.0, 2.0))
    assert check.ranks(check.small) == [2, 1]
    assert check.spearman == pytest.approx(-1.0)
    assert np.isnan(RankCheck(ERROR, 400, (0,), (0, 1), (1.0, 1.0), (1.0, 2.0)).kendall)


def test_one_trial_alone_has_no_rank():
    assert rank_checks(STUDY, trials(0.1), reruns((0, 0, 400, 0.2, 10.0))) == []


def test_fresh_are_other_seeds_on_the_studys_budget():
    table = reruns((0, 0, 100, 0.2, 1.0), (0, 7, 100, 0.2, 1.0), (0, 7, 400, 0.2, 1.0))
    table = pd.concat([table, table.iloc[[1]].assign(seed=8, state="failed")])
    assert list(rerun_statistics.fresh_trials(STUDY, table)["seed"]) == [7]
