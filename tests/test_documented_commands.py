"""Every command of the documents runs in a test or says why not; test_docs.py parses its options."""

import re
import shlex
from pathlib import Path

import pytest

from tests.test_docs import COMMANDS, DOCUMENTS, ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
# action -> the test that runs it, with options and files of its own
RUN_BY = {
    "aus": "tests/edit/test_aus_command.py",
    "bench photos": "tests/benchmarks/test_photos.py",
    "bench run": "tests/benchmarks/test_commands.py",
    "bench speed": "tests/benchmarks/test_speed.py",
    "bench status": "tests/benchmarks/test_commands.py",
    "bench sync": "tests/benchmarks/test_bundle.py",
    "check-method": "tests/benchmarks/test_third_party_method.py",
    "data build": "tests/data/photos/test_folder.py",
    "data info": "tests/data/test_commands.py",
    "data sheet": "tests/test_foreign_files.py",
    "demo": "tests/demo/test_server.py",
    "doctor": "tests/benchmarks/test_doctor.py",
    "edit": "tests/benchmarks/test_edit_photographs.py",
    "export onnx": "tests/test_export.py",
    "interpolate": "tests/benchmarks/test_edit_photographs.py",
    "report build": "tests/reports/test_added_methods.py",
    "report photos": "tests/reports/test_photos_report.py",
    "study best": "tests/studies/test_best.py",
    "study confirm": "tests/studies/test_rerun.py",
    "study dashboard": "tests/studies/test_dashboard.py",
    "study ranks": "tests/studies/test_rerun.py",
    "study report": "tests/studies/test_report.py",
    "study run": "tests/studies/test_commands.py",
    "study status": "tests/studies/test_commands.py",
    "train": "tests/benchmarks/test_train_command.py",
    "ui": "tests/test_mlflow_ui.py",
    "weights train": "tests/test_make_weights.py",
}
# start of a line -> the test that does what it does, or why none does
OTHER_LINES = {
    "make test": "it runs the tests",
    "make lint": "CI runs it with the tests",
    "make quickstart": "installs the project and trains for minutes; tests/benchmarks has its suite's parts",
    "make portraits": "downloads a package; tests/benchmarks/photographs.py reads what it leaves",
    ". .venv/bin/activate": "the tests run in such an environment already",
    "python -m pytest": "it runs the tests",
    "python -m tests.campaigns": "an hour of damage and kills; tests/campaigns has short ones of each",
    "python docs/examples/edit_onnx.py": "tests/test_export.py",
    "pip install 'eggan[export]'": "the tests have what it installs",
    "dask scheduler": "tests/cluster/test_connection.py",
    "dask worker": "tests/cluster/test_connection.py",
    "ssh node": "there is no other machine; tests/cluster has scheduler and workers on this one",
    "torchrun": "tests/test_distributed.py",
    "bundle/run": "tests/benchmarks/test_bare_node.py",
}


def shell_lines() -> list[str]:
    """Return every line of the shell blocks, without comments, those that a backslash joins as one."""
    blocks = [body for path in DOCUMENTS for kind, body in BLOCK.findall(path.read_text()) if kind == "sh"]
    lines = [shlex.join(shlex.split(line, comments=True)) for body in blocks for line in joined(body)]
    return [line for line in lines if line]


def joined(body: str) -> list[str]:
    return [part.strip() for line in body.replace("\\\n", " ").splitlines() for part in line.split("&&")]


def runs(path: Path, action: str) -> bool:
    """Whether a test calls an action of the program, its words one after the other or the last one alone."""
    text = path.read_text(encoding="utf-8")
    words = [f'"{word}"' for word in action.split()]
    return ", ".join(words) in text or f'"{action}' in text or f"[{words[-1]}, " in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_stand_in_shell_blocks(path):
    """In others nobody would parse them."""
    others = [body for kind, body in BLOCK.findall(path.read_text(encoding="utf-8")) if kind != "sh"]
    starts = tuple(f"{program} " for program in ("eggan", *(line.split()[0] for line in OTHER_LINES)))
    assert [line for body in others for line in joined(body) if line.startswith(starts)] == []


def test_every_command_runs_in_a_test():
    actions = {" ".join(command.split()[: 1 + (command.split()[0] in GROUPS)]) for command in COMMANDS}
    assert actions == set(RUN_BY)
    assert [action for action, path in RUN_BY.items() if not runs(ROOT / path, action)] == []


GROUPS = {action.split()[0] for action in RUN_BY if " " in action}


def test_every_other_line_is_done_in_a_test_or_says_why_not():
    lines = [line for line in shell_lines() if not line.startswith("eggan ")]
    found = {line: next((start for start in OTHER_LINES if line.startswith(start)), None) for line in lines}
    assert [line for line, start in found.items() if start is None] == []
    assert set(found.values()) == set(OTHER_LINES)
    tests = [text for text in OTHER_LINES.values() if text.startswith("tests/")]
    assert all((ROOT / text).is_file() for text in tests)


def test_every_make_target_of_the_documents_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {line.split()[1] for line in shell_lines() if line.startswith("make ")}
    assert named
    assert named <= targets
