"""A place that a user names may hold the user's own files under the very names that a command writes."""

import argparse
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from baselines.lightcnn import build_network
from baselines.official import lightcnn_key
from benchmarks.photos.photos_run import write_measured
from eggan import cli
from eggan.data.photos.build import PROBLEM_COLUMNS, check_free
from eggan.errors import UserError
from eggan.evaluation import make_instruments
from eggan.evaluation.instrument_networks import FaceEmbedder
from eggan.evaluation.instruments import save_instrument
from eggan.files import refuse_foreign
from eggan.tracking.record import METRICS_FILE, RECORD_FILE, logged_values, read_record
from reports.style.html import MARKS, report_files
from reports.suite.frame import write_frame
from studies.study_export import read_study
from studies.study_export import write_frame as write_study
from tests.baselines.test_import import official_state
from tests.benchmarks.test_photos import measured_once
from tests.reports.fakes import make_frame
from tests.studies.fakes import fake_study

# What a command is called with, OUT standing for its result, and names of files that it writes there; a name
# of "" is the result itself.
TRAIN = ("train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "OUT")
FRAMES = ("frame.json", "cells.parquet", "showcases/a.npz")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": (
        TRAIN,
        (
            *("config.json", "weights.safetensors", "training_state.pt"),
            *("run.json", "metrics.jsonl", "tracking.json", ".lock"),
        ),
    ),
    "edit": (("edit", "face.png", "--checkpoint", "m", "--neutral", "--au", "12=4", "-o", "OUT.png"), ("",)),
    "interpolate": (
        ("interpolate", "face.png", "--checkpoint", "m", "--neutral", "--au", "12=4", "-o", "OUT.png"),
        ("",),
    ),
    "import": (
        ("import", "lightcnn", "official.pth", "-o", "OUT"),
        ("config.json", "weights.safetensors", "run.json", "metrics.jsonl", "training_state.pt"),
    ),
    "instruments train": (
        ("instruments", "train", "--which", "a", "--out", "OUT"),
        ("au_a.json", "au_a.safetensors"),
    ),
    "data build synfacs": (
        ("data", "build", "synfacs", "--out", "OUT"),
        ("dataset.json", "images.npy", "manifest.parquet"),
    ),
    "data build folder": (
        ("data", "build", "folder", "--root", ".", "--labels", "l.csv", "--align", "none", "--out", "OUT"),
        ("dataset.json", "images.npy"),
    ),
    "data build rafd": (("data", "build", "rafd", "--root", ".", "--out", "OUT"), ("dataset.json",)),
    "data build mmi": (("data", "build", "mmi", "--root", ".", "--out", "OUT"), ("dataset.json",)),
    "data sheet": (("data", "sheet", "--out", "OUT.png"), ("",)),
    "data head": (("data", "head", "--out", "OUT"), ("",)),
    "report build": (
        ("report", "build", "--frame", "frame", "--out", "OUT"),
        ("index.html", "tables/t1.csv"),
    ),
    "report photos": (
        ("report", "photos", "photos", "--out", "OUT"),
        ("index.html", "tables/by-au.csv"),
    ),
    "bench bundle": (
        ("bench", "bundle", "--out", "OUT"),
        ("run", "wheels/a.whl", "source/bundle.json"),
    ),
    "weights train": (
        ("weights", "train", "eggan_w_64", "--out", "OUT"),
        ("eggan_w_64.json", "eggan_w_64.safetensors"),
    ),
    "export onnx": (("export", "onnx", "--checkpoint", "m", "-o", "OUT.onnx"), ("",)),
    "report export": (("report", "merge", "OUT", "frame"), FRAMES),
    "study report": (
        ("study", "report", "--frame", "study", "--out", "OUT"),
        ("index.html", "figures/history.png"),
    ),
    "study export": (("study", "export", "s", "OUT", "--runs", "runs"), ("study.json", "reruns.parquet")),
    "study best": (("study", "best", "s", "--runs", "runs", "--export", "OUT.toml"), ("",)),
}
CONTENTS = (b"mine", b"{}", b"[1]", b'{"format_version": 1}')
WRITES = ("--out", "--output", "--export")


@pytest.fixture(scope="module")
def workplace(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read: a dataset, a checkpoint, a photograph, an official file, a frame, a study."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("tiny", "m", "face.png"):
        (folder / name).symlink_to(trained / name)
    torch.save(official_state(build_network("9"), lightcnn_key), folder / "official.pth")
    (folder / "l.csv").write_text("file,au01\n")
    write_frame(make_frame(seeds=1), folder / "frame")
    write_measured(measured_once(), folder / "photos")
    fake_study(folder / "runs" / "studies" / "s", trials=4)
    write_study(read_study(folder / "runs" / "studies" / "s"), folder / "study")
    return folder


def parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Return every command that can be called, with its parser."""
    learn = getattr(parser, "learn", None)
    if learn:
        learn(parser)
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield name, parser
    for action in nested:
        for word, below in action.choices.items():
            yield from parsers(below, f"{name} {word}".strip())


def test_every_command_that_writes_where_a_user_says_is_tried_here():
    everything = cli.build_parser([], entry_points(group=cli.GROUP))
    writing = {
        name
        for name, parser in parsers(everything)
        if any(option in WRITES for action in parser._actions for option in action.option_strings)
    }
    assert len(writing) > 10
    assert writing <= COMMANDS.keys()


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, (_, names) in COMMANDS.items() for name in names]
)
def test_a_file_of_the_users_stays_as_it_is(workplace, tmp_path, eggan, monkeypatch, command, name):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(make_instruments, "make_instrument", lambda *_: pytest.fail("it went to work"))
    for number, content in enumerate(CONTENTS):
        words = [
            word.replace("OUT", str(tmp_path / str(number)), 1) if word.startswith("OUT") else word
            for word in COMMANDS[command][0]
        ]
        place = Path(next(word for word in words if word.startswith(str(tmp_path))))
        file = place / name if name else place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        before = sorted(tmp_path.rglob("*"))
        status, _, err = eggan(*words)
        assert (status, err.count("\n")) == (2, 1), err
        assert err.startswith("eggan: ")
        assert str(place) in err
        assert file.read_bytes() == content
        assert sorted(tmp_path.rglob("*")) == before


READING = {
    "report build": ("report", "build", "--runs", "runs", "--out", "OUT"),
    "report build --frame": ("report", "build", "--frame", "frame", "--out", "OUT"),
    "report export": ("report", "export", "OUT", "--runs", "runs"),
    "report merge": ("report", "merge", "OUT", "frame"),
    "report photos": ("report", "photos", "photos", "--out", "OUT"),
    "study report": ("study", "report", "s", "--runs", "runs", "--out", "OUT"),
    "study report --frame": ("study", "report", "--frame", "study", "--out", "OUT"),
    "study export": ("study", "export", "s", "OUT", "--runs", "runs"),
}


@pytest.mark.parametrize("command", READING)
def test_files_of_the_users_are_found_before_minutes_of_reading(
    workplace, tmp_path, eggan, monkeypatch, command
):
    for reader in (
        *("eggan.tracking.read.open_to_read", "reports.suite.frame.read_frame"),
        *("studies.study_export.read_frame", "studies.study_export.read_study"),
        "reports.photos.photos_report.read_measured",
    ):
        monkeypatch.setattr(reader, lambda *_, **__: pytest.fail("it went to read"))
    monkeypatch.chdir(workplace)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    words = [str(tmp_path / "out") if word == "OUT" else word for word in READING[command]]
    status, _, err = eggan(*words)
    assert (status, str(tmp_path / "out") in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.parametrize("command", ["report build", "study report"])
def test_a_site_of_the_users_with_figures_of_its_own_is_no_report(
    workplace, tmp_path, eggan, monkeypatch, command
):
    monkeypatch.chdir(workplace)
    (tmp_path / "site" / "figures").mkdir(parents=True)
    (tmp_path / "site" / "figures" / "history.png").write_bytes(b"mine")
    page = '<!DOCTYPE html>\n<html lang="en"><img src="figures/history.png"></html>'
    (tmp_path / "site" / "index.html").write_text(page)
    words = [str(tmp_path / "site") if word == "OUT" else word for word in COMMANDS[command][0]]
    status, _, err = eggan(*words)
    assert (status, "is not a report" in err) == (2, True)
    assert (tmp_path / "site" / "index.html").read_text() == page


@pytest.mark.parametrize("mark", MARKS)
def test_what_a_file_manager_leaves_in_a_report_does_not_count(tmp_path, mark):
    (tmp_path / "index.html").write_text(f'{mark}<img src="figures/one.png">')
    (tmp_path / "figures").mkdir()
    for name in (".DS_Store", "figures/Thumbs.db", "figures/one.png"):
        (tmp_path / name).touch()
    known = report_files(tmp_path)
    assert known == ["index.html", "figures/one.png"]
    refuse_foreign(tmp_path, known)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"notes\.txt"):
        refuse_foreign(tmp_path, known)


def test_a_list_of_the_users_beside_a_dataset_is_no_list_of_problems(tmp_path):
    (tmp_path / "d.problems.csv").write_text("what,when\n")
    with pytest.raises(UserError, match=r"d\.problems\.csv is no earlier build's list"):
        check_free(tmp_path / "d")
    (tmp_path / "d.problems.csv").write_text(",".join(PROBLEM_COLUMNS) + "\n")
    check_free(tmp_path / "d")


class TestInstruments:
    WORDS = ("instruments", "train", "--which", "verifier")

    @pytest.fixture
    def started(self, monkeypatch):
        """The folders for which a training was started."""
        folders = []

        def make(kind, recipe, data, seed, folder, workers, out):
            folders.append(out)
            return {"name": kind, "title": "", "sha256": "", "parameters": 0, "seed": 0} | {
                "training": {"seconds": 0.0},
                "held_out": {},
            }

        monkeypatch.setattr(make_instruments, "make_instrument", make)
        return folders

    def test_an_earlier_one_is_replaced_until_somebody_changes_it(self, tmp_path, eggan, started):
        save_instrument("verifier", FaceEmbedder(), {}, tmp_path)
        assert eggan(*self.WORDS, "--out", tmp_path)[0] == 0
        weights = tmp_path / "verifier.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        assert eggan(*self.WORDS, "--out", tmp_path)[0] == 2
        assert started == [tmp_path]
        assert eggan(*self.WORDS, "--out", tmp_path, "--force")[0] == 0

    def test_the_packages_own_are_trained_anew_whatever_has_become_of_them(self, eggan, started):
        assert eggan(*self.WORDS)[0] == 0
        assert started == [None]

    def test_notes_beside_them_are_reported_before_hours_of_work(self, tmp_path, eggan, started):
        (tmp_path / "notes.txt").write_text("mine")
        status, _, err = eggan(*self.WORDS, "--out", tmp_path, "--force")
        assert (status, "notes.txt" in err, started) == (2, True, [])


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"name": "x"}', '{"name": "x", "tags": {"a": 1}}', '{"name": "x", "tags": {}, "more": 1}'],
)
def test_another_run_json_is_no_record(tmp_path, text):
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(UserError, match=r"run\.json is no record of a run"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "mine",
        "[]",
        '{"step": 1}',
        '{"step": 1, "time_ms": 2, "values": {"a": "b"}}',
        f'{{"step": 1, "time_ms": 2, "values": {{"a": 1{"0" * 400}}}}}',
    ],
)
def test_another_line_is_no_logged_value(tmp_path, line):
    (tmp_path / METRICS_FILE).write_text(f'{{"step": 1, "time_ms": 2, "values": {{"a": NaN}}}}\n{line}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2 is no logged value"):
        logged_values(tmp_path)
