"""What entry points set: threads, waiting, caches, and streams that bear what shells do to them."""

import dataclasses
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from eggan import startup
from eggan.machine import allowed_cores
from eggan.startup import thread_environment
from reports.suite.frame import write_frame
from studies.study_export import read_study
from studies.study_export import write_frame as write_study
from tests.reports.fakes import make_frame
from tests.studies.fakes import fake_study

THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "EGGAN_OWN_THREADS")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `eggan` is this installation's command."""
    kept = {name: value for name, value in os.environ.items() if name not in THREADS}
    script = f'eggan() {{ "{sys.executable}" -m eggan "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script], env=kept | environment, capture_output=True, timeout=60, encoding="utf-8"
    )


class TestThreads:
    @pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (3, "2"), (16, "15")])
    def test_one_process_leaves_a_core_to_others_and_waits_without_spinning(
        self, cores, threads, monkeypatch
    ):
        monkeypatch.setattr(startup, "allowed_cores", lambda: cores)
        chosen = thread_environment({})
        assert chosen["OMP_NUM_THREADS"] == threads
        assert chosen["OMP_WAIT_POLICY"] == "PASSIVE"

    def test_processes_share_them(self, monkeypatch):
        monkeypatch.setattr(startup, "allowed_cores", lambda: 7)
        parent = thread_environment({})
        assert parent["OMP_NUM_THREADS"] == "6"
        assert thread_environment(parent, 2)["OMP_NUM_THREADS"] == "3"
        assert thread_environment(parent, 9)["OMP_NUM_THREADS"] == "1"

    def test_the_users_own_settings_win(self):
        given = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
        assert thread_environment(given) == {}
        assert thread_environment(given, 4) == {}

    @pytest.mark.parametrize(
        ("module", "command"),
        [
            ("eggan", "train eggan --dataset x"),
            ("eggan.cli", "edit x.png --au 12=3"),
            ("eggan", "bench run quick"),
            ("eggan", "study run loss-weights"),
        ],
    )
    def test_they_are_set_before_torch_is_imported(self, module, command, tmp_path):
        """A stand-in for torch notes what it finds, as libgomp does."""
        (tmp_path / "torch.py").write_text(
            "import os\n"
            "print('FOUND', os.environ.get('OMP_NUM_THREADS'), os.environ.get('OMP_WAIT_POLICY'))\n"
            "raise ImportError('enough seen')\n"
        )
        Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
        line = f'cd {tmp_path} && "{sys.executable}" -m {module} {command}'  # the folder is on -m's path
        found = [text for text in shell(line).stdout.splitlines() if text.startswith("FOUND")]
        assert set(found) == {f"FOUND {max(1, allowed_cores() - 1)} PASSIVE"}


class TestStreams:
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize("command", ["--help", "--version", "bench --help"])
    def test_a_reader_that_goes_away_is_no_error(self, command, unbuffered):
        done = shell(f"eggan {command} | true; exit ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
        assert (done.returncode, done.stderr) == (0, "")

    def test_nor_is_one_that_goes_away_in_the_middle(self):
        line = f"'{sys.executable}' -c \"{FLOOD}\" | head -n 1; exit ${{PIPESTATUS[0]}}"
        done = shell(line)
        assert (done.returncode, done.stdout, done.stderr) == (0, "line 0\n", "worked to the end\n")

    def test_closed_streams_are_borne(self):
        assert shell("eggan --version 2>&-").stdout.startswith("eggan ")
        assert shell("eggan nonsense 2>&-").returncode == 2
        assert shell("eggan --version >&-").returncode == 0
        assert shell("eggan --version <&- >&- 2>&-").returncode == 0
        done = shell("eggan nonsense >&- <&-")
        assert (done.returncode, "nonsense" in done.stderr) == (2, True)

    def test_a_file_that_is_opened_gets_no_standard_number(self):
        """Whatever a library writes to its standard error would end up in it."""
        code = "from eggan.startup import prepare; prepare(); print(open('/dev/null').fileno())"
        assert int(shell(f'"{sys.executable}" -c "{code}" 2>&- <&-').stdout) > 2

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict"])
    def test_characters_that_an_encoding_lacks_are_replaced(self, encoding):
        code = "from eggan.startup import prepare; prepare(); print('\\u03b1\\ud800'); print('done')"
        done = shell(f'"{sys.executable}" -c "{code}"', PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stdout, done.stderr) == (0, "??\ndone\n", "")


FLOOD = "import sys; from eggan.startup import prepare; prepare(); " + (
    "[print('line', n, flush=True) for n in range(20000)]; print('worked to the end', file=sys.stderr)"
)


class TestCaches:
    @pytest.fixture
    def bare(self, tmp_path, monkeypatch):
        """Neither the package nor HOME can be written."""
        for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(startup, "_can_write", lambda folder: False)
        monkeypatch.setattr(startup.tempfile, "tempdir", str(tmp_path))
        return tmp_path

    def test_they_go_to_a_folder_of_the_user_with_one_note(self, bare, capsys):
        startup.prepare_caches()
        numba, fonts = Path(os.environ["NUMBA_CACHE_DIR"]), Path(os.environ["MPLCONFIGDIR"])
        assert numba.parent == fonts.parent == bare / f"eggan-cache-{os.getuid()}"
        assert stat.S_IMODE(numba.parent.stat().st_mode) == 0o700
        assert capsys.readouterr().err.count("\n") == 1
        startup.prepare_caches()  # children find it set
        assert capsys.readouterr().err == ""

    def test_a_folder_that_others_can_write_is_not_used(self, bare):
        planted = bare / f"eggan-cache-{os.getuid()}"
        planted.mkdir()
        planted.chmod(0o777)
        startup.prepare_caches()
        assert Path(os.environ["NUMBA_CACHE_DIR"]).parent != planted

    def test_the_users_own_places_win(self, bare, monkeypatch, capsys):
        monkeypatch.setenv("NUMBA_CACHE_DIR", "/mine")
        monkeypatch.setenv("MPLCONFIGDIR", "/mine/too")
        startup.prepare_caches()
        assert os.environ["NUMBA_CACHE_DIR"] == "/mine"
        assert capsys.readouterr().err == ""

    def test_a_writable_home_is_left_to_the_libraries(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        monkeypatch.delenv("MPLCONFIGDIR", raising=False)
        startup.prepare_caches()
        assert "NUMBA_CACHE_DIR" not in os.environ
        assert capsys.readouterr().err == ""


def test_what_is_left_at_the_end_is_not_looked_through_for_garbage():
    """However often it was prepared; what was registered before us still runs."""
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
        "from eggan import startup\n"
        "startup.prepare(); startup.prepare()\n"
        "print(gc.get_freeze_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True"], done.stderr


DRAWING = """
from eggan import startup
startup.prepare()  # as every entry point begins
from eggan.cli import main
from reports.study import study_figures
from reports.style import figure_style
from reports.suite import estimates, suite_figures
figure_style.DPI, estimates.RESAMPLES, estimates.DIFFERENCE_RESAMPLES = 20, 20, 20
suite_figures.pictures = lambda frame, sections: [suite_figures.response_matrices(frame, sections[0])]
study_figures.pictures = lambda data, importances, checks: [study_figures.history(data)]
assert main(["report", "build", "--frame", "frame", "--out", "report"]) == 0
assert main(["study", "report", "--frame", "study", "--out", "study-report"]) == 0
import matplotlib
print(matplotlib.get_backend())
"""


@pytest.mark.slow
def test_figures_do_not_depend_on_the_backend_that_a_notebook_hands_down(tmp_path):
    """matplotlib refuses to be imported under a backend that it lacks: both reports draw all the same."""
    frame = make_frame(seeds=1)
    one = dict(list(frame.showcases.items())[:1])
    write_frame(dataclasses.replace(frame, showcases=one), tmp_path / "frame")
    fake_study(tmp_path / "s", trials=4)
    write_study(read_study(tmp_path / "s"), tmp_path / "study")
    done = subprocess.run(
        [sys.executable, "-c", DRAWING],
        env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split()[-1:] == ["agg"], done.stderr
    assert "Traceback" not in done.stderr
    for report in ("report", "study-report"):
        assert list((tmp_path / report / "figures").glob("*.png"))
