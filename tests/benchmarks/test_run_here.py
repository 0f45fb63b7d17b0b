"""The command in a bundle before it has its packages: it unpacks what is lacking, or says why it cannot."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.bundle import node, run_here

PACKAGE = {"name": "nobody-has-this", "at_least": "1", "wheel": "lacking.whl", "module": "x", "pure": True}


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    """A bundle with one package that this Python lacks; the suites themselves are not run."""
    folder = tmp_path / "bundle"
    for part in ("source", "wheels"):
        (folder / part).mkdir(parents=True)
    stamp = {"packages": [PACKAGE], "python": "3.12", "platform": "linux"}
    (folder / "source" / "bundle.json").write_text(json.dumps(stamp))
    with zipfile.ZipFile(folder / "wheels" / PACKAGE["wheel"], "w") as wheel:
        wheel.writestr("lacking_package.py", "HERE = __file__\n")
    monkeypatch.setattr(run_here, "HERE", folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    return folder


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["run", "quick", "--minutes", "8", *map(str, words)])
    return run_here.main()


def test_a_place_that_cannot_be_written_is_one_line(bundle, monkeypatch, capsys):
    assert run(monkeypatch, "--out", "/proc/foo") == 2
    err = capsys.readouterr().err
    assert (err.startswith("run: cannot write /proc/foo/.packages: "), err.count("\n")) == (True, 1)


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_dry_run_has_the_packages_and_leaves_nothing(bundle, tmp_path, monkeypatch, dry):
    found = []

    def ran(arguments):
        import lacking_package

        found.append(Path(lacking_package.HERE).parent)
        return 0

    monkeypatch.setattr(node, "run", ran)
    monkeypatch.delitem(sys.modules, "lacking_package", raising=False)
    assert run(monkeypatch, "--out", tmp_path / "out", *dry) == 0
    (place,) = found
    assert (place == tmp_path / "out" / ".packages") == (not dry)
    assert place.exists() == (tmp_path / "out").exists() == (not dry)
