"""House rules that can be read off the source: import directions, sizes, safe loading, no machine paths."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("eggan", "baselines", "benchmarks", "studies", "reports")
# Each package may import itself and the ones named here, never back.
BELOW = {
    "eggan": set(),
    "baselines": {"eggan"},
    "benchmarks": {"baselines", "eggan"},
    "studies": {"benchmarks", "baselines", "eggan"},
    "reports": {"studies", "benchmarks", "baselines", "eggan"},
}
# Rooms inside a package, and the rooms of the same package that each may import.
ROOMS = {
    "benchmarks": {
        "protocol": set(),
        "scoring": {"protocol"},
        "suites": {"protocol"},
        "photos": set(),
        "running": {"protocol", "scoring", "suites"},
        "bundle": {"protocol", "scoring", "suites", "running"},
    },
    "studies": {"storage": set(), "reruns": {"storage"}},
    "reports": {"style": set(), "suite": {"style"}, "study": {"style"}, "photos": {"style"}},
}
MAX_LINES = 500
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def calls(tree: ast.AST, dotted: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == dotted:
            yield node


def import_faults(source: str, package: str, inside_tracking: bool) -> list[str]:
    """Return the modules that a file of `package` must not import."""
    forbidden = set(PACKAGES) - {package} - BELOW[package] | {"tests"}
    if not inside_tracking:
        forbidden |= {"mlflow"}
    return [name for name in imports(ast.parse(source)) if name.split(".")[0] in forbidden]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    tracking = path.is_relative_to(ROOT / "eggan" / "tracking")
    assert import_faults(path.read_text(), package, tracking) == []


def room_faults(source: str, package: str, room: str) -> list[str]:
    """Return the modules of other rooms that a file in a room must not import."""
    forbidden = {f"{package}.{other}" for other in set(ROOMS[package]) - {room} - ROOMS[package][room]}
    return [name for name in imports(ast.parse(source)) if ".".join(name.split(".")[:2]) in forbidden]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_of_a_package_import_one_way(path):
    package, room = path.relative_to(ROOT).parts[:2]
    if room in ROOMS.get(package, {}):
        assert room_faults(path.read_text(), package, room) == []


def test_every_room_is_there_and_a_wrong_way_is_caught():
    for package, rooms in ROOMS.items():
        there = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file()}
        assert there == set(rooms)
    source = "from benchmarks.running.cells import claim"
    assert room_faults(source, "benchmarks", "scoring") == ["benchmarks.running.cells"]
    assert room_faults(source, "benchmarks", "running") == []


def test_finding_faces_stands_on_no_other_room():
    """Data, edits and instruments all look for faces, so that room must not look at them."""
    used = {
        name
        for path in (ROOT / "eggan" / "faces").glob("*.py")
        for name in imports(ast.parse(path.read_text()))
        if name.startswith("eggan") and not name.startswith("eggan.faces.")
    }
    assert used == {"eggan.errors", "eggan.files"}


@pytest.mark.parametrize(
    ("source", "package", "fault"),
    [
        ("import benchmarks.running.suite_run", "eggan", "benchmarks.running.suite_run"),
        ("def f():\n    from reports import tables", "benchmarks", "reports"),
        ("from mlflow import MlflowClient", "reports", "mlflow"),
        ("import reports", "studies", "reports"),
        ("import tests.conftest", "eggan", "tests.conftest"),
    ],
)
def test_the_rule_catches_what_it_forbids(source, package, fault):
    assert import_faults(source, package, inside_tracking=False) == [fault]


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=name_of)
def test_no_file_is_longer_than_500_lines(path):
    assert len(path.read_text().splitlines()) < MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled(path):
    tree = ast.parse(path.read_text())
    for call in calls(tree, "torch.load"):
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert options.get("weights_only") == "True", f"line {call.lineno}"
    for call in calls(tree, "np.load"):
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert options.get("allow_pickle", "False") == "False", f"line {call.lineno}"
    for dotted in ("pickle.load", "pickle.loads", "pd.read_pickle"):
        assert not list(calls(tree, dotted)), dotted


MACHINE_PATH = re.compile(r"""(?<![\w.:/])/(?:home|root|Users|work|tmp|mnt|opt|var)/\w""")


@pytest.mark.parametrize(
    "path", [*SOURCES, ROOT / "Makefile", ROOT / "README.md", ROOT / "pyproject.toml"], ids=name_of
)
def test_no_path_of_one_machine_is_written_down(path):
    found = [line for line in path.read_text().splitlines() if MACHINE_PATH.search(line)]
    assert found == []


def test_the_path_rule_catches_what_it_forbids():
    assert MACHINE_PATH.search('open("/home/someone/data")')
    assert not MACHINE_PATH.search("https://host/home/page and data/tmp/x")


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "README.md"], ids=name_of)
def test_pages_that_are_pointed_to_are_there(path):
    pages = re.findall(r"\bdocs/[\w./-]*\.(?:md|png)", path.read_text(encoding="utf-8"))
    assert [page for page in pages if not (ROOT / page).is_file()] == []


def function_lengths() -> list[int]:
    return sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    )


def test_functions_are_short():
    lengths = function_lengths()
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.9)] <= 40
    assert lengths[-1] <= 120


def texts_in_the_locales_encoding(source: str) -> list[int]:
    """Return the lines that read or write text files without naming their encoding."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        named = any(keyword.arg == "encoding" for keyword in node.keywords)
        plain = {"read_text": 0, "write_text": 1}.get(node.func.attr)
        if plain is not None and not named and len(node.args) <= plain:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_texts_name_their_encoding(path):
    assert texts_in_the_locales_encoding(path.read_text(encoding="utf-8")) == []


def test_a_text_in_the_locales_encoding_is_found():
    source = (
        "p.read_text()\np.write_text(t)\np.read_text(encoding='utf-8')\np.write_text(t, encoding='utf-8')"
    )
    assert texts_in_the_locales_encoding(source) == [1, 2]
