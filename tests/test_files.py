import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eggan import files
from eggan.errors import UserError
from tests.killed_writes import PATTERNS, contents, leftovers, whole, write_folder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def after_each_kill(kind: str, path: Path) -> list:
    """Return what is found after a kill at each step of a write, in the place of which there was "old"."""
    command = [sys.executable, "-m", "tests.killed_writes", kind, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_measurements_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-120000")
    made = [files.dated_folder(tmp_path / "speed") for _ in range(3)]
    assert [folder.name[15:] for folder in made] == ["", "-2", "-3"]
    assert sorted((tmp_path / "speed").iterdir()) == sorted(made)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "deep" / "x.json"
    files.write_json({"b": 1, "a": 2}, path)
    assert path.read_text() == '{\n "a": 2,\n "b": 1\n}\n'

    def broken(staged):
        staged.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*x\.json: No space left on device"):
        files.write_atomically(path, broken)
    assert '"a": 2' in path.read_text()
    assert os.listdir(path.parent) == ["x.json"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        files.write_text("y", tmp_path / "file" / "below")
    with pytest.raises(UserError, match="cannot write"):
        files.write_text("y", tmp_path)


@pytest.mark.parametrize("kind", ["of_a_folder", "of_a_folder_in_two_steps"])
def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path, kind):
    found = after_each_kill(kind, tmp_path / "made")
    assert all(state in (whole("old"), whole("new")) for state in found)
    assert whole("old") in found
    assert whole("new") in found, "some kill must come after the replacement"
    assert len(found) > 15


def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path):
    assert set(after_each_kill("of_a_file", tmp_path / "x.txt")) == {"old", "new"}


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff", b"[" * 100_000])
def test_json_that_is_missing_or_broken_is_none_where_that_is_asked_for(tmp_path, content):
    path = tmp_path / "x.json"
    files.write_json({"a": 1}, path)
    assert files.read_whole_json(path) == {"a": 1}
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert files.read_whole_json(path) is None


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b'{"a": 1}\n{"b": ', b'{"a": 1}\n'),
        (b'{"a": 1', b""),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b"", b""),
        (b"notes of mine", b"notes of mine"),
    ],
)
def test_a_half_written_last_line_is_cut_off_and_what_holds_no_json_lines_is_left_alone(
    tmp_path, content, kept
):
    path = tmp_path / "lines"
    files.drop_torn_line(path)
    assert not path.exists()
    path.write_bytes(content)
    files.drop_torn_line(path)
    assert path.read_bytes() == kept


def test_both_ways_of_replacing_a_folder_work(tmp_path, monkeypatch):
    for way in (files._exchange, lambda one, other: False):
        monkeypatch.setattr(files, "_exchange", way)
        folder = tmp_path / way.__name__.strip("<>")
        write_folder(folder, "old")
        write_folder(folder, "new")
        assert contents(folder) == whole("new")
    assert leftovers(tmp_path) == []


def test_a_failed_second_step_brings_the_old_folder_back(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    write_folder(tmp_path / "made", "old")
    real, calls = os.rename, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(files.os, "rename", second_fails)
    with pytest.raises(UserError, match="No space left"):
        write_folder(tmp_path / "made", "new")
    assert contents(tmp_path / "made") == whole("old")


def test_a_link_to_a_folder_is_followed(tmp_path):
    write_folder(tmp_path / "disk", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write_folder(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "disk") == whole("new")


@pytest.mark.parametrize("name", ["notes.txt", "parts/notes.md", "parts/deep/a.txt", ".hidden", "b/a.txt"])
def test_a_folder_with_a_users_file_is_left_alone(tmp_path, name):
    write_folder(tmp_path / "made", "old")
    (tmp_path / "made" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "made" / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds '{name}', which this program did not write"):
        write_folder(tmp_path / "made", "new")
    assert contents(tmp_path / "made") == whole("old") | {name: "mine"}


def test_a_users_file_that_comes_while_the_folder_is_made_is_kept(tmp_path):
    write_folder(tmp_path / "made", "old")
    with (
        pytest.raises(UserError, match=r"'notes\.txt'"),
        files.replaced_folder(tmp_path / "made", PATTERNS),
    ):
        (tmp_path / "made" / "notes.txt").write_text("mine")
    assert "notes.txt" in contents(tmp_path / "made")
    assert leftovers(tmp_path) == []


def test_a_file_in_the_folders_place_is_left_alone(tmp_path):
    (tmp_path / "made").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        write_folder(tmp_path / "made", "new")
    assert (tmp_path / "made").read_text() == "mine"


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._a.txt", "parts/.DS_Store"])
def test_what_file_managers_leave_does_not_count(tmp_path, name):
    write_folder(tmp_path / "made", "old")
    (tmp_path / "made" / name).write_text("litter")
    write_folder(tmp_path / "made", "new")
    assert contents(tmp_path / "made") == whole("new")


def test_the_umask_decides_the_modes(tmp_path, umask):
    def private(path: Path) -> None:  # as safetensors does
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    files.write_atomically(tmp_path / "deep" / "private", private)
    write_folder(tmp_path / "made", "new")
    with files.try_lock(tmp_path / ".lock"):
        pass
    with files.locked(tmp_path / ".other"):
        pass
    for name in ("deep/private", "made/a.txt", "made/parts/new.txt", ".lock", ".other"):
        assert mode(tmp_path / name) == 0o666 & ~umask, name
    for name in ("deep", "made", "made/parts"):
        assert mode(tmp_path / name) == 0o777 & ~umask, name


def test_what_a_living_writer_is_making_is_not_swept(tmp_path):
    with files.replaced_folder(tmp_path / "made", PATTERNS) as staged:
        (staged / "a.txt").write_text("new")
        files.sweep(tmp_path)
        assert (staged / "a.txt").exists()
    assert contents(tmp_path / "made") == {"a.txt": "new"}


def test_many_writers_of_one_folder_leave_one_whole_folder(tmp_path):
    texts = [f"t{number}" for number in range(6)]

    def write(text):
        for _ in range(10):
            write_folder(tmp_path / "made", text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "made").exists():
            seen.append((tmp_path / "made" / "a.txt").exists())
    assert all(seen)
    assert contents(tmp_path / "made") in [whole(text) for text in texts]
    assert leftovers(tmp_path) == []


HOLD = """
import sys, time
from pathlib import Path
from eggan import files
with files.try_lock(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_a_killed_holder_frees_it(tmp_path):
    path, before = tmp_path / ".lock", time.time()
    assert files.lock_holder(path) is None
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    with files.try_lock(path) as ours:
        assert not ours
    holder = files.lock_holder(path)
    assert holder.pid == process.pid
    assert before - 1 <= holder.since <= time.time()
    assert str(holder).startswith(f"process {process.pid} on {os.uname().nodename} since 20")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert files.lock_holder(path) is None
    with files.try_lock(path) as ours:
        assert ours


def test_asking_who_holds_a_lock_never_keeps_anybody_from_taking_it(tmp_path):
    path, stop = tmp_path / ".lock", threading.Event()

    def ask():
        while not stop.is_set():
            files.is_locked(path)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    taken = []
    for _ in range(300):
        with files.try_lock(path) as ours:
            taken.append(ours)
    stop.set()
    for reader in readers:
        reader.join()
    assert all(taken)


def test_two_readers_do_not_take_each_other_for_a_holder(tmp_path):
    import fcntl

    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # a reader that is slow
        assert not files.is_locked(tmp_path / ".lock")


def test_hashes_are_of_contents_in_order(tmp_path):
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").write_bytes(b"c")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2: "abc"
    assert files.hash_files([tmp_path / "a", tmp_path / "b"]) == expected
    assert files.hash_files([tmp_path / "b", tmp_path / "a"]) != expected
