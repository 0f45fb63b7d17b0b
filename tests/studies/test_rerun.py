import argparse
import dataclasses
import fcntl
import re
import shlex
import shutil
import time

import pandas as pd
import pytest

from eggan import tracking
from eggan.errors import UserError
from eggan.files import files_in, read_json, write_json
from studies.reruns.rerun import RESULT, SPENT, Rerun, plan_reruns, read_reruns, read_result, run_reruns
from studies.reruns.rerun_session import RerunSession
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import RUN_ID, open_study_run, ship_study
from studies.study_commands import register
from studies.study_config import read_spec
from studies.study_context import reopen_study_context
from studies.study_export import read_study
from studies.worker import Worker
from tests.studies import dying
from tests.studies.fakes import fake_reruns, fake_study, record_trial
from tests.studies.study_context import StudiedPainter, make_context, make_study


def context_at(root):
    """The context of a study below `root` whose trials save after every step."""
    context = make_context(root, trials=2)
    often = dataclasses.replace(context.training, checkpoint_every_seconds=0.0)
    return dataclasses.replace(context, training=often)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """The folder of a study that has the paper's and the preset's trial, both complete."""
    root = tmp_path_factory.mktemp("complete")
    context = context_at(root)
    Worker(context, make_study(context)).run()
    return root


@pytest.fixture
def finished(complete, tmp_path):
    """A copy of that study, and its context."""
    shutil.copytree(complete, tmp_path, dirs_exist_ok=True)
    context = context_at(tmp_path)
    return context, open_study(context.folder)


def session(context, **choices):
    return RerunSession(
        **{
            "name": "small",
            "bench": context.bench,
            "offline": True,
            **choices,
        }
    )


def test_every_trial_has_a_seed_before_one_has_two():
    assert plan_reruns([4, 2, 4], [7, 8], 100) == [
        Rerun(4, 7, 100),
        Rerun(2, 7, 100),
        Rerun(4, 8, 100),
        Rerun(2, 8, 100),
    ]


def test_the_studys_own_seed_and_budget_give_its_own_score(finished):
    context, study = finished
    assert run_reruns(context, study, [Rerun(0, 0, context.study.images)], None) == []
    reruns, pairs = read_reruns(context.folder)
    for name in ("val/au/skill", "val/au/mse", "val/identity/accuracy"):
        assert reruns[name][0] == study.trials[0].user_attrs[name]
    assert len(pairs) == context.study.pairs
    assert 1 - pairs["error"].mean() / pairs["copied"].mean() == pytest.approx(reruns["val/au/skill"][0])
    assert len(study.trials) == 2  # no trial: the sampler must not learn from it


def test_a_smaller_budget_is_another_result(finished):
    context, study = finished
    run_reruns(context, study, [Rerun(0, 0, 8)], None)
    result = read_result(Rerun(0, 0, 8).folder(context.folder))
    assert result["state"] == "finished"
    assert result["scores"]["val/au/skill"] < study.trials[0].user_attrs["val/au/skill"] - 0.01


def test_what_was_stopped_goes_on_and_what_has_ended_is_not_run_again(finished, monkeypatch):
    context, study = finished
    steps = []

    def stopped(self, batch, step, update=StudiedPainter.update):
        if step == 5 and 5 not in steps:
            steps.append(step)
            time.sleep(1.0)
            raise KeyboardInterrupt
        steps.append(step)
        return update(self, batch, step)

    monkeypatch.setattr(StudiedPainter, "update", stopped)
    folder = Rerun(1, 9, 32).folder(context.folder)
    with pytest.raises(KeyboardInterrupt):
        run_reruns(context, study, [Rerun(1, 9, 32)], None)
    assert tracking.read_record(folder).state == "interrupted"
    assert read_result(folder) is None
    spent = read_json(folder / SPENT)
    for _ in range(2):
        run_reruns(context, study, [Rerun(1, 9, 32)], None)
    assert steps == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    assert read_result(folder)["state"] == "finished"
    assert read_result(folder)["seconds"] > spent > 1.0  # of both parts
    assert not list(folder.glob("s*"))  # weights and state are gone


@pytest.mark.parametrize("fatal", [r"unlink .*training_state", r"replace .*/run.json"])
def test_one_whose_process_was_killed_after_its_result_is_settled_by_the_next_command(finished, fatal):
    """Nothing is left of its training, and its run says how it ended."""
    context, study = finished
    rerun = Rerun(1, 9, 8)
    folder = rerun.folder(context.folder)
    steps = dying.Steps(None)
    with dying.mortal(steps):
        run_reruns(context, study, [rerun], None)
    shutil.copytree(folder, folder.parent / "wanted")
    wanted = tracking.read_record(folder)
    shutil.rmtree(folder)
    moment = [number for number, name in enumerate(steps.names) if re.search(fatal, name)][-1]
    with dying.mortal(dying.Steps(moment)), pytest.raises(dying.Killed):
        run_reruns(context, study, [rerun], None)
    assert read_result(folder)["state"] == "finished"
    assert tracking.read_record(folder).state == "running"
    assert run_reruns(context, study, [rerun], None) == []
    assert tracking.read_record(folder).state == wanted.state == "finished"
    assert files_in(folder) == files_in(folder.parent / "wanted")
    last = [tracking.record.logged_values(path)[-1]["values"] for path in (folder, folder.parent / "wanted")]
    assert {**last[0], "train_seconds": 0} == {**last[1], "train_seconds": 0}


def test_a_training_that_fails_is_recorded_and_the_next_one_runs(finished):
    context, study = finished
    broken = dataclasses.replace(context, base=dataclasses.replace(context.base, fail_from=0.9))
    run_reruns(broken, study, [Rerun(1, 9, 32), Rerun(0, 9, 32)], None)
    reruns, pairs = read_reruns(context.folder)
    assert list(reruns["state"]) == ["finished", "failed"]
    assert "loss not finite" in reruns["reason"][1]
    assert set(pairs["trial"]) == {0}


def test_two_processes_do_not_run_the_same(finished):
    context, study = finished
    rerun = Rerun(1, 9, 32)
    folder = rerun.folder(context.folder)
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run_reruns(context, study, [rerun], None) == [rerun]
        assert read_result(folder) is None


@pytest.mark.slow
def test_a_rerun_is_a_run_under_the_studys_with_a_link_to_its_trial(tmp_path):
    store = tracking.open_store(None, tmp_path / "store", tracking.STUDIES)
    context = make_context(tmp_path, trials=1)
    study = make_study(context)
    parent = open_study_run(context, study, store)
    Worker(context, study, store).run()
    parent.finish("finished")
    run_reruns(context, study, [Rerun(0, 9, 32)], store)
    folder = Rerun(0, 9, 32).folder(context.folder)
    run_id = read_result(folder)["run_id"]
    run = store.client.get_run(run_id)
    assert run.data.tags["mlflow.parentRunId"] == study.user_attrs[RUN_ID]["run_id"]
    assert run.data.tags["trial_run_id"] == study.trials[0].user_attrs[RUN_ID]["run_id"]
    assert (run.data.tags["kind"], run.data.tags["state"]) == ("rerun", "finished")
    assert run.data.metrics["val/au/skill"] == pytest.approx(0.75, abs=1e-3)
    assert len(ship_study(context.folder, store).runs) == 3


def test_a_session_confirms_the_best_and_the_references(finished, capsys):
    context, _ = finished
    chosen = session(context, best=1, seeds=(7, 8), images=32)
    assert "4 in all, 0 done, 4 to run" in chosen.plan()
    assert not (context.folder / "reruns").exists()
    assert chosen.run() == 0
    assert "4 in all, 4 done, 0 to run" in chosen.plan()
    assert capsys.readouterr().out.count("finished") == 4
    data = read_study(context.folder)
    assert sorted(set(data.reruns["trial"])) == [0, 1]
    assert (
        tracking.read_record(context.folder).state == "finished"
    )  # the study's run, made where it was missing


def test_a_study_whose_folder_was_renamed_keeps_its_results_together(finished):
    context, _ = finished
    folder = context.folder.rename(context.folder.with_name("renamed"))
    assert session(context, name="renamed", best=1, seeds=(7,), images=32).run() == 0
    assert list(read_reruns(folder)[0]["state"]) == ["finished", "finished"]
    assert not context.folder.exists()


def test_a_failed_training_shows_in_the_status(finished):
    context, _ = finished
    methods = {**context.bench.methods}
    entry = methods["painter"]

    def build(config, context):
        return StudiedPainter(dataclasses.replace(config, fail="nan" if context.seed == 8 else ""))

    bench = dataclasses.replace(
        context.bench, methods={**methods, "painter": dataclasses.replace(entry, build=build)}
    )
    broken = dataclasses.replace(session(context, trials=(0,), seeds=(7, 8), images=32), bench=bench)
    assert broken.run() == 1
    assert list(read_reruns(context.folder)[0]["state"]) == ["finished", "failed"]


def test_a_context_is_not_reopened_over_other_data_or_instruments(finished):
    context, _ = finished
    assert reopen_study_context(context.folder, context.bench).spec == context.spec
    instruments = context.bench.instruments("cpu")
    other = dataclasses.replace(instruments, a=dataclasses.replace(instruments.a, sha256="c" * 64))
    with pytest.raises(UserError, match="other instruments"):
        reopen_study_context(
            context.folder, dataclasses.replace(context.bench, instruments=lambda device: other)
        )
    entry = dataclasses.replace(context.entry, version=2)
    with pytest.raises(UserError, match="version 1 of painter"):
        reopen_study_context(
            context.folder,
            dataclasses.replace(context.bench, methods={**context.bench.methods, "painter": entry}),
        )
    from tests.benchmarks.fakes import make_dataset

    make_dataset(context.bench.runs / "others", {"train": 2, "val": 1, "test": 1}, seed=5)
    with pytest.raises(UserError, match="another dataset"):
        reopen_study_context(
            context.folder, dataclasses.replace(context.bench, dataset=context.bench.runs / "others")
        )


def parsed(line):
    """Return the arguments of a printed `eggan study ..` line."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    return parser.parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize(
    "words",
    [
        ["confirm", "s", "--best", "2", "--seeds", "7", "8"],
        ["confirm", "s", "--trials", "0", "--offline", "--keep-weights"],
        ["ranks", "s", "--trials", "0", "1", "--images", "51200", "--data", "faces"],
    ],
)
def test_a_dry_run_tells_cost_and_command_and_leaves_nothing(eggan, tmp_path, words):
    for trial in fake_study(tmp_path / "studies" / "s", trials=6).trials:
        record_trial(tmp_path / "studies" / "s", trial.number, tracking.describe_machine("cpu"))
    before = sorted(path.name for path in (tmp_path / "studies" / "s").rglob("*"))
    status, out, _ = eggan("study", *words, "--dry-run", "--runs", tmp_path)
    assert status == 0
    trainings = int(out.partition("trainings: ")[2].split()[0])
    minutes = 2.0 if words[0] == "ranks" else 1.0  # the study's trials took one
    assert f"about {trainings * minutes / 60:.1f} h" in out
    line = next(line for line in out.splitlines() if line.startswith("run or continue it: "))
    given = parsed(shlex.join(["eggan", "study", *words, "--runs", str(tmp_path)]))
    assert RerunSession.of(parsed(line.partition(": ")[2])) == RerunSession.of(given)
    assert sorted(path.name for path in (tmp_path / "studies" / "s").rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["confirm", "s", "--seeds", "0"], "seed 0 is one that the study trained with"),
        (["confirm", "s", "--trials", "2"], "trial 2 is not a complete trial"),
        (["confirm", "s", "--best", "-1"], "0 or more of the best trials"),
        (["confirm", "nope"], "holds no study (known: s)"),
        (["ranks", "s", "--trials", "0", "1", "--images", "25600"], "is the study's own budget"),
        (["ranks", "s", "--trials", "0", "--images", "3"], "less than a batch"),
        (["ranks", "s", "--trials", "0", "--images", "4800"], "4,800 images are too few for eggan: in its "),
        (["ranks", "s", "--trials", "0", "--images", "0"], "'0' is not a number of images"),
        (["ranks", "s", "--trials", "99", "--images", "51200"], "trial 99 is not a complete trial"),
        (["confirm", "s", "--dataset", "nowhere"], "nowhere is not a dataset"),
        (["confirm", "s", "--tracking-uri", "nowhere"], "'nowhere' is not a tracking URI"),
    ],
)
def test_mistakes_are_one_line(eggan, tmp_path, words, message):
    fake_study(tmp_path / "studies" / "s", trials=4)
    status, _, err = eggan("study", *words, "--dry-run", "--runs", tmp_path)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"scores": []},
        {"scores": {"val/au/skill": "high"}},
        {"state": "lost"},
        {"reason": None},
        {"seconds": None},
        {"trial": "0"},
        {"run_id": 7},
    ],
    ids=str,
)
def test_a_result_of_another_shape_is_that_of_a_rerun_that_has_not_ended(eggan, tmp_path, wrong):
    folder = tmp_path / "studies" / "s"
    fake_reruns(folder, fake_study(folder, trials=4), [0, 1], [7], 25_600)
    path = Rerun(0, 7, 25_600).folder(folder) / RESULT
    write_json({**read_json(path), **wrong} if wrong else wrong, path)
    assert read_result(path.parent) is None
    assert list(read_reruns(folder)[0]["trial"]) == [1]
    assert eggan("study", "best", "s", "--runs", tmp_path)[0] == 0
    status, out, _ = eggan(
        "study", "confirm", "s", "--trials", 0, "--seeds", 7, "--dry-run", "--runs", tmp_path
    )
    assert (status, "1 in all, 0 done, 1 to run" in out) == (0, True)


def test_ended_reruns_are_a_table(tmp_path):
    study = fake_study(tmp_path / "s", trials=4)
    empty, no_pairs = read_reruns(tmp_path / "s")
    assert len(empty) == len(no_pairs) == 0
    fake_reruns(tmp_path / "s", study, [0, 1], [7], read_spec(tmp_path / "s").study.images)
    (tmp_path / "s" / "reruns" / "t0003-i1-s1").mkdir()  # begun, not ended
    reruns, pairs = read_reruns(tmp_path / "s")
    assert list(reruns["trial"]) == [0, 1]
    assert isinstance(pairs, pd.DataFrame)
    assert list(pairs.groupby("trial").size()) == [96, 96]
