"""A folder of one kind in the place of another: the error names a command that reads it."""

import shlex
from pathlib import Path

import pytest

from benchmarks.photos.photos_run import write_measured
from eggan import tracking
from reports.suite.frame import write_frame
from studies.study_export import read_study
from studies.study_export import write_frame as write_study
from tests.benchmarks.test_photos import measured_once
from tests.reports.fakes import make_frame
from tests.studies.fakes import fake_study

BUILDS = {
    "frame": ("reports.suite.frame", "read_frame"),
    "study": ("studies.study_export", "read_frame"),
    "measured": ("reports.photos.photos_report", "read_measured"),
    "results": ("reports.suite.frame", "read_store"),
    "results/studies/mine": ("studies.study_export", "read_study"),
}
COMMANDS = {
    "frame": (("report", "build", "--frame", "{}"), ("report", "merge", "merged", "{}")),
    "study": (("study", "report", "--frame", "{}"),),
    "measured": (("report", "photos", "{}"),),
    "results": (("report", "build", "--runs", "{}"), ("report", "export", "out", "--runs", "{}")),
}


class Reached(Exception):
    """A command has got as far as to read a folder."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """One folder of each kind, in a folder with a blank in its name."""
    root = tmp_path_factory.mktemp("my results")
    write_frame(make_frame(seeds=1), root / "frame")
    write_measured(measured_once(), root / "measured")
    fake_study(root / "results" / "studies" / "mine", trials=4)
    write_study(read_study(root / "results" / "studies" / "mine"), root / "study")
    tracking.open_store(None, root / "results")
    return root


@pytest.mark.parametrize("given", BUILDS)
@pytest.mark.parametrize("wanted", COMMANDS)
def test_the_command_that_is_named_reads_the_folder(folders, eggan, monkeypatch, given, wanted):
    monkeypatch.chdir(folders)
    if wanted == given or (wanted, given) == ("results", "results/studies/mine"):
        return
    module, name = BUILDS[given]

    def reached(*_, **__):
        raise Reached

    for words in COMMANDS[wanted]:
        place = folders / given
        status, _, err = eggan(*(word.format(place) for word in words))
        assert (status, err.count("\n")) == (2, 1), err
        assert err.startswith(f"eggan: {place} is ")
        line = shlex.split(err.split("`")[1])
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", reached)
            with pytest.raises(Reached):
                eggan(*line[1:], "--out", "made")


def test_a_folder_in_the_place_of_a_studys_name_is_told_how_it_is_given(folders, eggan):
    status, _, err = eggan("study", "report", folders / "study", "--runs", folders / "none")
    assert (status, f"study report --frame '{folders / 'study'}'" in err) == (2, True)


@pytest.mark.parametrize(
    "words", [("report", "build", "--frame"), ("study", "report", "--frame"), ("report", "photos")]
)
def test_a_folder_of_no_kind_is_never_said_to_be_what_a_command_would_write_over(tmp_path, eggan, words):
    (tmp_path / "notes.txt").write_text("mine")
    status, _, err = eggan(*words, tmp_path)
    assert (status, err.count("\n"), f"export {tmp_path}" in err) == (2, 1, False), err
