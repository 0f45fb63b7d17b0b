import dataclasses
import subprocess
import sys

import pytest

from eggan.errors import UserError
from studies.storage.study_storage import (
    ADDRESS_VARIABLE,
    JOURNAL_FILE,
    SystemLock,
    check_address,
    create_study,
    full_address,
    open_study,
    stored_address,
)
from studies.storage.trials import trial_frame
from studies.study_config import write_spec
from tests.studies.fakes import fake_spec, fake_study

URL = "postgresql+psycopg://me:secret@host/eggan"
BARE = "postgresql+psycopg://me@host/eggan"
ROWS = {"paper": {"lambda_au": 100.0}, "preset": {"lambda_au": 30.0}}


def test_creating_twice_queues_the_references_once(tmp_path):
    spec = fake_spec()
    create_study(spec, tmp_path, "", ROWS)
    study = create_study(spec, tmp_path, "", ROWS)
    assert [trial.user_attrs["reference"] for trial in study.trials] == ["paper", "preset"]
    assert study.trials[0].system_attrs["fixed_params"] == ROWS["paper"]


def test_a_study_with_other_settings_is_not_continued(tmp_path):
    create_study(fake_spec(), tmp_path, "", ROWS)
    with pytest.raises(UserError, match="other settings"):
        create_study(fake_spec(images=64_000), tmp_path, "", ROWS)


def test_a_line_that_a_crash_cut_off_is_dropped_from_the_journal(tmp_path):
    spec = fake_spec()
    write_spec(spec, tmp_path)
    create_study(spec, tmp_path, "", ROWS).set_user_attr("kept", 1)
    with (tmp_path / "journal.log").open("a") as stream:
        stream.write('{"op_code": 4, "torn')
    open_study(tmp_path).set_user_attr("later", 2)
    attrs = open_study(tmp_path).user_attrs
    assert (attrs["kept"], attrs["later"]) == (1, 2)


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from studies.storage.study_storage import SystemLock\n"
        "SystemLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")])
    lock = SystemLock(tmp_path / "lock")
    assert lock.acquire()
    lock.release()


def test_sqlite_serves_one_worker_only():
    assert check_address("sqlite:///x.db", workers=1) == "sqlite:///x.db"
    with pytest.raises(UserError, match="one worker only"):
        check_address("sqlite:///x.db", workers=2)
    with pytest.raises(UserError, match="not a storage address"):
        check_address("studies.db", workers=1)
    for broken in ("postgresql://me:secret@[host/eggan", "postgresql://me:secret@host:port/eggan"):
        with pytest.raises(UserError, match="--storage is no address") as caught:
            check_address(broken, workers=1)
        assert "secret" not in str(caught.value)


def test_passwords_are_never_written_and_found_again(monkeypatch):
    assert check_address("postgresql://me:secret@host/eggan", 2) == URL
    assert stored_address(URL) == BARE
    assert full_address(BARE, URL) == URL
    assert full_address(BARE, BARE) == BARE
    monkeypatch.setenv(ADDRESS_VARIABLE, URL)
    assert full_address(BARE, BARE) == URL
    assert full_address("", None) == ""
    assert full_address("postgresql+psycopg://other/eggan") == "postgresql+psycopg://other/eggan"


def test_what_cannot_be_opened_says_why_on_one_line(tmp_path):
    write_spec(fake_spec(), tmp_path)
    with pytest.raises(UserError, match=r"there is no .*journal\.log"):
        open_study(tmp_path)
    database = tmp_path / "studies.db"
    write_spec(dataclasses.replace(fake_spec(), storage=f"sqlite:///{database}"), tmp_path / "other")
    with pytest.raises(UserError, match=f"there is no {database}"):
        open_study(tmp_path / "other")
    assert not database.exists()
    with pytest.raises(UserError, match="cannot use the study storage") as caught:
        create_study(fake_spec(), tmp_path, "postgresql+psycopg://me:secret@127.0.0.1:1/x", ROWS)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", ["constrained", "pareto"])
def test_a_finished_study_as_a_table(tmp_path, objective):
    fake_study(tmp_path / "s", objective, trials=6)
    frame = trial_frame(open_study(tmp_path / "s"))
    assert list(frame["number"]) == list(range(6))
    assert list(frame["state"][:3]) == ["complete", "complete", "failed"]
    assert frame["state"][3] == ("pruned" if objective == "constrained" else "complete")
    assert list(frame["is_paper"]) == [True] + [False] * 5
    assert frame["params_lambda_au"][0] == 100.0
    assert frame["val/au/skill"].isna()[2]
    assert "not finite" in frame["reason"][2]
    assert frame["retry_of"].isna().all()


def test_a_study_without_trials_is_an_empty_table_with_its_columns(tmp_path):
    frame = trial_frame(create_study(fake_spec(), tmp_path, "", {}))
    assert len(frame) == 0
    assert {"state", "is_paper", "val/au/skill"} <= set(frame.columns)


def journal_of(folder):
    fake_study(folder, trials=5)
    return folder / JOURNAL_FILE


@pytest.mark.parametrize(
    "bad", [b'{"op_code": 4', b"\x00\xff\x00", b"[]", b"7", b'{"op_code": 99}', b'{"a": 1}', b""]
)
@pytest.mark.parametrize("where", ["middle", "end"])
def test_a_journal_with_a_damaged_line_is_one_line_that_says_how_to_go_on(tmp_path, bad, where):
    journal = journal_of(tmp_path / "a study")
    (journal.parent / "trials" / "0004").mkdir(parents=True)
    lines = journal.read_bytes().splitlines()
    number = len(lines) // 2 if where == "middle" else len(lines) - 1
    lines[number] = bad
    journal.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(UserError, match=f"is damaged at line {number + 1} of {len(lines)} ") as raised:
        open_study(journal.parent)
    assert "\n" not in str(raised.value)
    commands = str(raised.value).partition("lines before it: ")[2]
    subprocess.run(commands, shell=True, check=True)
    assert journal.read_bytes() == b"\n".join(lines[:number]) + b"\n"
    assert not (journal.parent / "trials").exists()
    study = open_study(journal.parent)
    assert 0 < len(study.trials) <= 5
    study.ask(fake_spec().space.distributions)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\x00", b"\x00" * 5000, b"notes of mine", b"a\nb\n"]
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path, content):
    journal = journal_of(tmp_path / "s")
    journal.write_bytes(content)
    with pytest.raises(UserError, match=r"journal\.log is not a study's journal"):
        open_study(journal.parent)
    assert journal.read_bytes() == content


def test_an_empty_journal_holds_no_study(tmp_path):
    journal = journal_of(tmp_path / "s")
    journal.write_bytes(b"")
    with pytest.raises(UserError, match="run the study's command"):
        open_study(journal.parent)


def test_a_line_that_a_killed_worker_left_half_written_stops_no_living_one(tmp_path):
    journal = journal_of(tmp_path / "s")
    living = open_study(journal.parent)
    before = len(living.trials)
    with journal.open("ab") as stream:
        stream.write(b'{"op_code":4,"worker_id":"kil')
    living.ask(fake_spec().space.distributions)
    assert len(open_study(journal.parent).trials) == before + 1
