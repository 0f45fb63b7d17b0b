"""Which libraries a command imports: they, and not the work, are what a short command costs."""

import subprocess
import sys

import pytest

LIBRARIES = (
    *("torch", "torchvision", "lpips", "pytorch_msssim", "sklearn", "scipy", "pandas", "pyarrow", "numba"),
    *("matplotlib", "mlflow", "optuna", "sqlalchemy", "numpy", "PIL", "anny", "trimesh", "tqdm"),
)
CODE = """
import sys
from eggan.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("IMPORTED", *({modules} & set(sys.modules)))
"""


def imported(*words: str) -> set[str]:
    """Return which of `LIBRARIES` a command has imported when it ends, whatever it has to say."""
    code = CODE.format(modules=set(LIBRARIES))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "IMPORTED", done.stderr
    return set(last[1:])


@pytest.mark.parametrize(
    "words", ["--help", "--version", "train --help", "bench run --help", "edit --help", "bench status"]
)
def test_nothing_heavy(words, tmp_path):
    runs = ["--runs", str(tmp_path)] if words == "bench status" else []
    assert imported(*words.split(), *runs) == set()


def test_the_states_of_studies_need_their_storage_alone(tmp_path):
    assert imported("study", "status", "--runs", str(tmp_path)) <= {"optuna", "sqlalchemy", "numpy", "tqdm"}


def test_reports_draw_without_torch():
    """Of what a report imports, before it has read anything."""
    code = "import sys, reports.build, reports.frame\nprint('IMPORTED', *({modules} & set(sys.modules)))"
    code = code.format(modules={"torch", "torchvision", "sklearn", "numba", "lpips"})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["IMPORTED"], done.stderr
