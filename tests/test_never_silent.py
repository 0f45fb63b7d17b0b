"""What takes long says what it does, also where nobody looks at a terminal; one module alone prints it."""

import ast
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from eggan import progress
from eggan.evaluation import reading
from tests.benchmarks.fakes import ColourVerifier, make_bench, tiny_suite

ROOT = Path(__file__).parents[1]
SOURCES = [path for name in ("eggan", "baselines", "benchmarks", "studies", "reports")
           for path in sorted((ROOT / name).rglob("*.py"))]  # fmt: skip
BAR_LIBRARIES = {"tqdm", "rich", "alive_progress", "progressbar", "progress"}


@pytest.fixture
def _fast(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)


def own_progress(tree: ast.AST) -> list[str]:
    """Return what of a module draws progress itself: a library of bars, or a line that is drawn again."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in BAR_LIBRARIES]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module] if node.module.split(".")[0] in BAR_LIBRARIES else []
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            written = ast.dump(node)
            found += ["print with a carriage return"] if r"\r" in written else []
            found += (
                ["print without a line's end"] if any(word.arg == "end" for word in node.keywords) else []
            )
        elif isinstance(node, ast.Attribute) and node.attr == "write":
            owner = ast.unparse(node.value)
            found += [owner] if owner in ("sys.stderr", "sys.stdout") else []
    return found


@pytest.mark.parametrize(
    "code",
    [
        "from tqdm import tqdm",
        "import tqdm.auto as t",
        "print(f'{n} of {m}', end='')",
        "print('\\r', n)",
        "import sys\nsys.stderr.write('10 %')",
    ],
)
def test_own_progress_is_seen(code):
    assert own_progress(ast.parse(code))


def test_only_one_module_draws_progress():
    found = {
        str(path.relative_to(ROOT)): drawn
        for path in SOURCES
        if (drawn := own_progress(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert set(found) == {"eggan/progress.py"}


class SlowVerifier(ColourVerifier):
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return super().embed(images)


@pytest.mark.usefixtures("_fast")
def test_reading_faces_says_how_far_it_is(capsys):
    images = np.zeros((4 * reading.BATCH, 8, 8, 3), np.uint8)
    reading.embed(SlowVerifier(), images, "cpu", what="embed test pairs")
    err = capsys.readouterr().err
    assert "embed test pairs: 0 of 4 steps (0 %)" in err
    assert err.splitlines()[-1].startswith("embed test pairs: 4 steps done in ")


@pytest.mark.usefixtures("_fast")
def test_a_bootstrap_says_how_far_it_is(capsys, monkeypatch):
    from reports.suite import sections
    from tests.reports.fakes import make_frame

    def slow(*_):
        time.sleep(0.4)
        return {"skill": None}

    monkeypatch.setattr(sections, "intervals", slow)
    sections.sections_of(make_frame(failed=False), progress.progress_bar)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("bootstrap of the estimates: 0 of 5 steps (0 %)")
    assert any(" left" in line for line in lines)


@pytest.mark.usefixtures("_fast")
def test_opening_a_store_says_so_without_its_password(capsys, monkeypatch):
    from eggan.tracking import store

    def slow(uri, runs, experiment):
        time.sleep(0.1)
        return store.Store(uri, "1", None)

    monkeypatch.setattr(store, "_open", slow)
    store.open_store("postgresql://me:secret@host/runs", Path("runs"))
    err = capsys.readouterr().err
    assert err.startswith("opening the tracking store postgresql://")
    assert "secret" not in err


@pytest.mark.usefixtures("_fast")
def test_a_suite_says_what_it_loads_and_builds(capsys, tmp_path, monkeypatch):
    """Every wait of a run that has no bar of its own: here each is made a long one."""
    from benchmarks.running import cell_run
    from benchmarks.running.bench_session import BenchSession

    def slow(call):
        def slowed(*words, **named):
            time.sleep(0.08)
            return call(*words, **named)

        return slowed

    for name in ("take_over_training", "edit_costs"):
        monkeypatch.setattr(cell_run, name, slow(getattr(cell_run, name)))
    bench = make_bench(tmp_path)
    BenchSession(tiny_suite(references=False), bench, [], [], [], offline=True).run()
    err = capsys.readouterr().err
    assert "looking for an earlier training: " in err
    assert "timing edits: " in err
