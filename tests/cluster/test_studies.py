"""Studies on a cluster: workers share the database, their trials come back here."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from eggan.cluster.connection import ClusterChoice
from eggan.errors import UserError
from eggan.published_weights import VGG19_FILE
from studies import cluster_workers
from studies.cluster_workers import check_cluster, run_on_cluster
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import settle_all
from studies.storage.trials import trial_frame
from tests.cluster.machines import ROOT
from tests.cluster.tiny_study import arguments_of
from tests.studies.study_context import make_context, make_study


def test_workers_elsewhere_need_a_database_that_they_reach():
    there, here = ClusterChoice("tcp://10.0.0.1:8786"), ClusterChoice("local:2")
    for storage in (None, "", "sqlite:///study.db"):
        with pytest.raises(UserError, match="give --storage postgresql://"):
            check_cluster(there, storage)
        check_cluster(here, storage)
    check_cluster(there, "postgresql://me@10.0.0.9/eggan")


def test_each_worker_is_a_task_and_their_needs_are_those_of_the_method(tmp_path):
    context = make_context(tmp_path, storage="postgresql://me@10.0.0.9/eggan")
    given = arguments_of(tmp_path, "postgresql://me:secret@10.0.0.9/eggan")
    there = ClusterChoice("tcp://10.0.0.1:8786")
    jobs = list(cluster_workers._jobs(there, context, given, 3))
    assert len({job.name for job in jobs}) == 3
    assert all(job.needs == {"threads": 1, "memory_gib": 2.0} for job in jobs)
    own = jobs[0].arguments
    assert (own.as_worker, own.offline, own.storage) == (True, True, given.storage)
    assert not own.runs.is_absolute()
    places = list(jobs[0].files)
    assert f"{own.runs}/studies/small/study.json" in places
    assert f"{own.dataset}/images.npy" in places


def test_the_weights_that_a_studys_trainings_read_travel(tmp_path, monkeypatch):
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / VGG19_FILE).write_bytes(b"")
    context = make_context(tmp_path, storage="postgresql://me@10.0.0.9/eggan")
    given = arguments_of(tmp_path, "postgresql://me@10.0.0.9/eggan")
    of_homointerpgan = {kind: {"encoder_init": kind} for kind in ("identity_vgg19", "imagenet_vgg19")}
    of_eggan = {kind: {"perceptual_on": kind} for kind in ("c_id", "imagenet_vgg19")}
    for network, config in (*of_eggan.items(), *of_homointerpgan.items()):
        travels = network == "imagenet_vgg19"
        spec = dataclasses.replace(context.spec, method_config=config)
        there = dataclasses.replace(context, spec=spec)
        (job,) = cluster_workers._jobs(ClusterChoice("tcp://10.0.0.1:8786"), there, given, 1)
        assert (f"weights/{VGG19_FILE}" in job.files) == travels


@pytest.mark.slow
def test_workers_of_this_machine_work_in_the_studys_own_folder_with_its_journal(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    context = make_context(Path(), trials=2)
    make_study(context)
    run_on_cluster(ClusterChoice("local:2"), context, arguments_of(Path(), None), 2)
    study = open_study(context.folder)
    assert list(trial_frame(study)["state"]) == ["complete", "complete"]
    assert os.getpid() not in {trial.user_attrs["owner"]["pid"] for trial in study.trials}
    assert "study-" not in capfd.readouterr().err  # both ended well


@pytest.mark.slow
def test_trials_of_a_worker_without_our_disk_come_back(machines, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"  # one worker may do with it: it stands for a database's server
    context = make_context(tmp_path, storage=url, trials=2)
    make_study(context, url)
    machines.scheduler()
    machines.worker("one")
    run_on_cluster(ClusterChoice(str(machines.file)), context, arguments_of(tmp_path, url), 1)
    study = open_study(context.folder, url)
    assert list(trial_frame(study)["state"]) == ["complete", "complete"]
    settle_all(study, context.folder, None)
    for number in (0, 1):
        folder = context.folder / "trials" / f"{number:04d}"
        assert json.loads((folder / "trial.json").read_text())["state"] == "complete"
        assert json.loads((folder / "run.json").read_text())["state"] == "finished"
        assert "train/loss" in (folder / "metrics.jsonl").read_text()
        assert not list(folder.glob("s*"))
