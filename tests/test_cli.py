"""The `eggan` command: discovery, exit statuses, one-line errors, start-up time."""

import errno
import os
import subprocess
import sys
import time
from importlib.metadata import EntryPoint, entry_points

import pytest

from eggan import __version__, cli
from eggan.errors import UserError


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=cli.GROUP)


def register_probe(subparsers):
    parser = subparsers.add_parser("probe")
    parser.add_argument("--raise-as", default="")
    parser.set_defaults(run=run_probe)


ERRORS = {
    "": None,
    "user": UserError("the file is missing:\n  do this"),
    "interrupt": KeyboardInterrupt(),
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "wrapped-disk": RuntimeError("I/O error: No space left on device (os error 28)"),
    "denied": PermissionError(errno.EACCES, "Permission denied", "/somebody/else"),
    "read-only": OSError(errno.EROFS, "Read-only file system", "runs/cells"),
    "memory": MemoryError("Unable to allocate 9 GiB"),
    "bug": ValueError("a bug"),
}


def run_probe(arguments):
    if (error := ERRORS[arguments.raise_as]) is not None:
        raise error
    return 7


@pytest.fixture
def probe(monkeypatch):
    entries = [entry("probe", "tests.test_cli:register_probe")]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)
    return entries


@pytest.mark.usefixtures("probe")
class TestExitStatus:
    def test_the_command_decides_it(self, eggan):
        assert eggan("probe")[0] == 7

    def test_a_user_mistake_is_one_line_and_status_2(self, eggan):
        status, out, err = eggan("probe", "--raise-as", "user")
        assert (status, out, err) == (2, "", "eggan: the file is missing: do this\n")

    def test_an_interruption_is_130(self, eggan):
        assert eggan("probe", "--raise-as", "interrupt")[0] == 130

    @pytest.mark.parametrize("kind", ["disk", "wrapped-disk"])
    def test_a_full_disk_is_one_line(self, eggan, kind):
        status, _, err = eggan("probe", "--raise-as", kind)
        assert status == 2
        assert "disk is full" in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("denied", "/somebody/else: Permission denied"),
            ("read-only", "runs/cells: Read-only file system"),
            ("memory", "not enough memory"),
        ],
    )
    def test_what_the_machine_refuses_is_one_line(self, eggan, kind, text):
        status, _, err = eggan("probe", "--raise-as", kind)
        assert status == 2
        assert text in err
        assert err.count("\n") == 1

    def test_a_bug_keeps_its_traceback(self, eggan):
        with pytest.raises(ValueError, match="a bug"):
            eggan("probe", "--raise-as", "bug")

    def test_an_unknown_command_is_2(self, eggan):
        status, _, err = eggan("nonsense")
        assert status == 2
        assert "nonsense" in err

    def test_no_command_is_2(self, eggan):
        assert eggan()[0] == 2


def test_a_broken_entry_does_not_hurt_the_others(probe, eggan):
    probe.append(entry("ghost", "no_such_package.commands:register"))
    probe.append(entry("hollow", "eggan.cli:no_such_function"))
    assert eggan("probe")[0] == 7
    status, out, _ = eggan("--help")
    assert status == 0
    assert "(broken: No module named 'no_such_package')" in out


@pytest.mark.parametrize("name", ["ghost", "hollow"])
def test_calling_a_broken_entry_says_what_is_missing(probe, eggan, name):
    probe.append(entry("ghost", "no_such_package.commands:register"))
    probe.append(entry("hollow", "eggan.cli:no_such_function"))
    status, _, err = eggan(name, "--any", "thing")
    assert status == 2
    assert name in err
    assert "cannot be loaded" in err
    assert err.count("\n") == 1


def test_two_packages_with_one_name_are_refused(probe, eggan):
    probe.append(entry("probe", "other.package:register"))
    status, _, err = eggan("probe")
    assert status == 2
    assert "two packages offer the command 'probe'" in err


def test_nothing_installed_is_reported(monkeypatch, eggan):
    monkeypatch.setattr(cli, "entry_points", lambda group: [])
    status, _, err = eggan("probe")
    assert status == 2
    assert "pip install" in err


def test_version(eggan):
    assert eggan("--version")[:2] == (0, f"eggan {__version__}\n")


def test_the_wait_policy_is_a_default_only(probe, eggan, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    eggan("probe")
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    eggan("probe")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("module", ["eggan", "eggan.cli"])
def test_python_m_runs_it(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"eggan {__version__}\n")


@pytest.mark.parametrize("name", sorted(e.name for e in entry_points(group=cli.GROUP)))
def test_every_installed_command_loads_and_has_help(eggan, name):
    status, out, err = eggan(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: eggan {name}")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from eggan.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'pandas', 'matplotlib', 'scipy', 'numba', 'anny'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout
    assert "broken" not in done.stdout
    assert seconds < 5  # about 0.3 s on an idle machine; the set of imports above is the sharp test
