"""Worker processes: results in order, gone with their parent, one process where the system lends none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from eggan.data import workers
from eggan.data.workers import kept_processes, spread, worker_count
from eggan.errors import UserError

PARENT = """
import time
from eggan.data.workers import spread
if __name__ == "__main__":
    list(spread(time.sleep, [60.0, 60.0], 2))
"""


def wait_for(condition, seconds: float):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_workers_end_with_a_parent_that_was_killed(how: str, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(workers.__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, script], env=environment, cwd=tmp_path)

    def sleeping() -> list[psutil.Process]:
        children = psutil.Process(parent.pid).children()
        ready = [child for child in children if child.num_threads() > 1]  # its watcher runs
        return children if len(ready) >= 2 else []

    try:
        children = wait_for(sleeping, 30)
        assert len(children) >= 2
        getattr(parent, how)()
        parent.wait(10)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    finally:
        parent.kill()


def test_results_keep_the_order_of_their_tasks() -> None:
    assert list(spread(abs, [-3, 2, -1], 2)) == [3, 2, 1]
    assert list(spread(abs, [-3], 5)) == [3]
    assert list(spread(abs, [], 2)) == []


def process_of(_: int) -> int:
    return os.getpid()


def test_what_is_spread_inside_a_block_shares_its_processes() -> None:
    with kept_processes(2):
        first, second = (set(spread(process_of, range(8), 5)) for _ in range(2))
        assert os.getpid() not in first
        assert len(first | second) <= 2
        assert list(spread(process_of, [1], 5)) == [os.getpid()]  # a single task is not worth it
    assert not first & set(spread(process_of, range(8), 2))
    assert not [number for number in first if psutil.pid_exists(number)]


def test_a_killed_worker_is_a_user_error() -> None:
    with pytest.raises(UserError, match="fewer --workers"):
        list(spread(os._exit, [1, 1], 2))


def test_without_shared_memory_one_process_works_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refused)
    assert list(spread(abs, [-3, 2], 2)) == [3, 2]
    note = capsys.readouterr().err
    assert "one process" in note
    assert "Permission denied" in note
    assert note.count("\n") == 1


def test_a_number_of_workers_is_at_least_one() -> None:
    assert worker_count(3) == 3
    assert worker_count(None) >= 1
    with pytest.raises(UserError, match="workers"):
        worker_count(0)


SPREAD = """
from eggan.data.workers import spread
if __name__ == "__main__":
    print(list(spread(abs, [-1, -2], 2)))
"""


@pytest.mark.parametrize("name", ["pickle", "struct", "socket"])
def test_workers_load_no_file_of_the_working_folder(tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nraise SystemExit\n")
    (tmp_path / "spread.py").write_text(SPREAD)
    command = [sys.executable, str(tmp_path / "spread.py")]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert (ran.stdout, (tmp_path / "executed").exists()) == ("[1, 2]\n", False), ran.stderr
