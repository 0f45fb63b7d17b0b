import dataclasses
import shlex

import pytest

from benchmarks.suites.methods import METHODS
from eggan import options, tracking
from eggan.config import to_dict
from studies.storage.trials import trial_frame
from studies.study_commands import register
from studies.study_config import read_spec
from studies.study_console import GUESSED_RATE, trial_seconds
from studies.study_session import StudySession, study_config
from tests.benchmarks.fakes import make_bench
from tests.studies.fakes import fake_study, record_trial


def parse(*words, space="loss-weights"):
    import argparse

    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    return parser.parse_args(["study", "run", space, *map(str, words)])


def test_a_dry_run_prints_trials_hours_disk_and_the_command_and_makes_nothing(eggan, tmp_path):
    status, out, _ = eggan(
        "study", "run", "loss-weights", "--dry-run", "--trials", 12, "--runs", tmp_path / "runs"
    )
    assert status == 0
    assert "trials: 12 in all, 0 done, 12 to run" in out
    assert "a guess" in out
    assert "MiB" in out
    line = next(line for line in out.splitlines() if line.startswith("run or continue it: "))
    assert "--trials 12" in line
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_counts_the_trials_of_machines_like_this_one_alone(tmp_path):
    folder = tmp_path / "mine"
    study = fake_study(folder)  # complete trials took a minute each; none left a record here
    bench = make_bench(tmp_path)
    bench = dataclasses.replace(bench, methods=METHODS)

    def expected():
        return trial_seconds(read_spec(folder).study, study, bench, folder)

    complete = [t.number for t in study.get_trials() if t.state.name == "COMPLETE"]
    guessed = (25_600 / GUESSED_RATE, f"; {len(complete)} finished trials are of another machine")
    assert (expected()[0], expected()[1].removeprefix("a guess: 70 images per second")) == guessed
    here = tracking.describe_machine("cpu")
    for number, tags in zip(complete, (here, here | {"machine.accelerator": "H100"}, here), strict=False):
        record_trial(folder, number, tags)
    assert expected() == (60.0, "median of 2 finished trials")


def test_the_printed_command_means_the_same_study():
    words = ["--trials", "7", "--also", "critic_steps", "--objective", "pareto", "--set", "study.seeds=[1,2]"]
    words += ["--set", "weight_ssim=0.5", "--workers", "2"]
    arguments = parse(*words)
    with options.remembered(arguments, ["study", "run", "loss-weights", *words]):
        again = parse(*shlex.split(options.this_command())[4:])
    session = StudySession.of(arguments)
    assert to_dict(study_config(again)) == to_dict(session.study)
    assert StudySession.of(again) == session


def test_a_space_brings_its_method_and_what_else_a_user_leaves_open():
    session = StudySession.of(parse(space="warp-weights"))
    own = session.study
    assert (session.name, own.method, own.preset) == ("warp-weights-constrained", "eggan-w", "cpu")
    assert (own.identity_floor, own.min_resource, own.images) == (95.0, 6400, 25_600)
    words = ["--identity-floor", 80, "--images", 9600, "--set", "study.min_resource=1600"]
    given = StudySession.of(parse(*words, space="warp-weights")).study
    assert (given.identity_floor, given.min_resource, given.images) == (80.0, 1600, 9600)


def test_a_trial_is_long_enough_for_its_presets_warm_start_unless_its_images_are_given():
    def images(*words):
        return StudySession.of(parse(*words)).study.images

    assert images() == 25_600
    assert images("--preset", "crowd") == 73_600
    assert images("--preset", "crowd", "--set", "rec_warm_steps=1000") == 25_600
    assert images("--preset", "crowd", "--images", 66_000) == 66_000
    assert images("--preset", "crowd", "--set", "study.images=66000") == 66_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "study.nope=1"], "unknown key 'nope'"),
        (["--set", "weight_id=0"], "lies outside the space loss-weights, which searches 6 to 600"),
        (["--also", "critic_steps", "--set", "critic_steps=9"], "critic_steps = 9 lies outside the space"),
        (["--dataset", "nowhere"], "nowhere is not a dataset"),
        (["--tracking-uri", "nowhere"], "'nowhere' is not a tracking URI"),
        (["--images", "8000"], "raise --images"),
        (["--set", "study.min_resource=9600"], "only 9600 images follow"),
        (["--set", "training.batch_size=8"], "do not take it: give --set study.batch_size=N"),
        (
            ["--set", "training.images=9600"],
            "--set training.images=9600: a study's trials do not take it: give",
        ),
        (["--set", "training.epochs=3"], "give --images N"),
        (["--set", "training.probe_every=10"], "give --set study.validate_every=IMAGES"),
        (["--also", "depth"], "known: critic_steps"),
        (["--storage", "sqlite:///x.db", "--workers", "2"], "one worker only"),
        (["--workers", "0"], "--workers"),
        (["--name", "../x"], "not a plain name"),
        (["--method", "copy-source"], "learns nothing"),
        (["--set", "study.seeds=[1,1]"], "each of them once"),
        (["--identity-floor", "101"], "no trial can reach it"),
        (["--method", "eggan-w", "--preset", "cpu"], "which this method does not have"),
    ],
)
def test_mistakes_are_one_line(eggan, tmp_path, words, message):
    status, _, err = eggan("study", "run", "loss-weights", "--dry-run", "--runs", tmp_path, *words)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss-weights", "--preset", "paper", "--dataset"], "configured for 128 px but"),
        (["warp-weights", "--dataset"], "learns from true edits, which"),
        (["loss-weights", "--images", "8000", "--dataset"], "raise --images"),
    ],
)
def test_a_dataset_that_does_not_fit_is_said_before_a_store_is_opened_and_by_a_dry_run(
    eggan, tmp_path, dataset_folder, monkeypatch, dry, words, message
):
    monkeypatch.setattr("eggan.tracking.store.open_store", lambda *_: pytest.fail("the store was opened"))
    status, _, err = eggan("study", "run", *words, dataset_folder, "--runs", tmp_path / "runs", *dry)
    assert (status, message in err, err.count("\n")) == (2, True, 1), err
    assert not (tmp_path / "runs").exists()


def test_status_lists_studies_and_trials(eggan, tmp_path):
    study = fake_study(tmp_path / "studies" / "mine", trials=6)
    status, out, _ = eggan("study", "status", "--runs", tmp_path)
    assert status == 0
    assert "6/6" in out
    status, out, _ = eggan("study", "status", "mine", "--runs", tmp_path)
    lines = out.splitlines()
    assert len(lines) == 1 + len(trial_frame(study))
    assert "paper" in lines[1]
    assert "not finite" in lines[3]
    assert "pruned after" in lines[4]


def test_a_study_that_cannot_be_read_does_not_hide_the_others(eggan, tmp_path):
    for name in ("broken", "older", "whole"):
        fake_study(tmp_path / "studies" / name, trials=2)
    (tmp_path / "studies" / "broken" / "study.json").write_text("{")
    (tmp_path / "studies" / "older" / "study.json").write_text('{"name": "older"}')
    status, out, _ = eggan("study", "status", "--runs", tmp_path)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert status == 0
    assert "is corrupted" in lines["broken"]
    assert "another version" in lines["older"]
    assert "2/2" in lines["whole"]
    (tmp_path / "studies" / "whole").rename(tmp_path / "studies" / "renamed")
    assert "2/2" in next(line for line in eggan("study", "status", "--runs", tmp_path)[1].splitlines()
                         if line.startswith("renamed "))  # fmt: skip


def test_status_of_nothing(eggan, tmp_path):
    assert "no study" in eggan("study", "status", "--runs", tmp_path)[1]
    assert eggan("study", "status", "nope", "--runs", tmp_path)[0] == 2


@pytest.mark.slow
def test_a_study_of_eggan_from_its_command_with_two_workers(eggan, trained, tmp_path):
    from eggan.data.dataset import load_dataset, write_dataset

    dataset = load_dataset(trained / "tiny")
    manifest = dataset.manifest.assign(expression=["neutral", "angry"] * 4)
    manifest["split"] = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    folder = write_dataset(tmp_path / "d", "tiny", manifest, dataset.images[:], 0, {}, "1")
    settings = ["cid_epochs=1", "cexp_warm_steps=0", "rec_warm_steps=0", "latent_dim=16"]
    settings += ["encoder_channels=[4,4,8,8,16]", "generator_channels=[16,8,8,8,8,8]"]
    settings += ["image_critic_channels=[4,4,8,8,16,1]", "classifier_width=0.25"]
    settings += ["study.batch_size=2", "study.validate_every=4", "study.min_resource=4"]
    settings += ["study.pairs=4", "study.validation_pairs=4", "study.startup_trials=2"]
    words = ["--dataset", folder, "--runs", tmp_path / "runs", "--images", 8, "--trials", 4, "--workers", 2]
    words += ["--au-instrument", "synfacs", "--verifier", "synfacs"]  # these are photographs to the software
    words += [word for setting in settings for word in ("--set", setting)]
    status, out, err = eggan("study", "run", "loss-weights", *words)
    assert status == 0, err
    from studies.storage.study_storage import open_study

    study = open_study(tmp_path / "runs" / "studies" / "loss-weights-constrained")
    frame = trial_frame(study)
    assert len(frame) == 4
    assert frame["params_lambda_id"][0] == 60.0
    assert frame["params_lambda_id"][1] == 10.0
    assert all(trial.user_attrs["mlflow_run_id"]["run_id"] for trial in study.trials)
    assert "continue it: eggan study run loss-weights" in out
