"""House rules that can be read off the source: import directions, sizes, safe loading, no machine paths."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
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


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def check_all(paths: Iterable[Path], faults_of: Callable[[Path], object]) -> None:
    """Check that no file has a fault; those that have are named with theirs."""
    assert {name_of(path): found for path in paths if (found := faults_of(path))} == {}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def import_faults(tree: ast.AST, package: str, inside_tracking: bool) -> list[str]:
    """Return the modules that a file of `package` must not import."""
    forbidden = set(PACKAGES) - {package} - BELOW[package] | {"tests"}
    if not inside_tracking:
        forbidden |= {"mlflow"}
    return [name for name in imports(tree) if name.split(".")[0] in forbidden]


def test_imports_go_one_way():
    def faults(path: Path) -> list[str]:
        tracking = path.is_relative_to(ROOT / "eggan" / "tracking")
        return import_faults(tree_of(path), path.relative_to(ROOT).parts[0], tracking)

    check_all(SOURCES, faults)


def room_faults(tree: ast.AST, package: str, room: str) -> list[str]:
    """Return the modules of other rooms that a file in a room must not import."""
    forbidden = {f"{package}.{other}" for other in set(ROOMS[package]) - {room} - ROOMS[package][room]}
    return [name for name in imports(tree) if ".".join(name.split(".")[:2]) in forbidden]


def test_rooms_of_a_package_import_one_way():
    def faults(path: Path) -> list[str]:
        package, room = path.relative_to(ROOT).parts[:2]
        return room_faults(tree_of(path), package, room) if room in ROOMS.get(package, {}) else []

    check_all(SOURCES, faults)


def test_every_room_is_there_and_a_wrong_way_is_caught():
    for package, rooms in ROOMS.items():
        there = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file()}
        assert there == set(rooms)
    source = ast.parse("from benchmarks.running.cells import claim")
    assert room_faults(source, "benchmarks", "scoring") == ["benchmarks.running.cells"]
    assert room_faults(source, "benchmarks", "running") == []


def test_finding_faces_stands_on_no_other_room():
    """Data, edits and instruments all look for faces, so that room must not look at them."""
    used = {
        name
        for path in (ROOT / "eggan" / "faces").glob("*.py")
        for name in imports(tree_of(path))
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
    assert import_faults(ast.parse(source), package, inside_tracking=False) == [fault]


def test_no_file_is_longer_than_500_lines():
    def length(path: Path) -> int:
        lines = len(text_of(path).splitlines())
        return lines if lines >= MAX_LINES else 0

    check_all(SOURCES + TESTS, length)


def unpickled(tree: ast.AST) -> list[str]:
    """Return the calls that may run what a file holds."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        dotted = ast.unparse(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        safe = {
            "torch.load": options.get("weights_only") == "True",
            "np.load": options.get("allow_pickle", "False") == "False",
            **dict.fromkeys(("pickle.load", "pickle.loads", "pd.read_pickle"), False),
        }
        if not safe.get(dotted, True):
            found.append(f"line {node.lineno}: {dotted}")
    return found


def test_nothing_is_unpickled():
    check_all(SOURCES, lambda path: unpickled(tree_of(path)))


def test_what_unpickles_is_found():
    source = (
        "torch.load(f)\ntorch.load(f, weights_only=False)\ntorch.load(f, weights_only=True)\nnp.load(f)\n"
    )
    source += "np.load(f, allow_pickle=True)\npickle.load(f)\npickle.loads(b)\npd.read_pickle(f)"
    found = [line.split(":")[0] for line in unpickled(ast.parse(source))]
    assert found == [f"line {number}" for number in (1, 2, 5, 6, 7, 8)]


MACHINE_PATH = re.compile(r"""(?<![\w.:/])/(?:home|root|Users|work|tmp|mnt|opt|var)/\w""")


def test_no_path_of_one_machine_is_written_down():
    def faults(path: Path) -> list[str]:
        return [line for line in text_of(path).splitlines() if MACHINE_PATH.search(line)]

    check_all([*SOURCES, ROOT / "Makefile", ROOT / "README.md", ROOT / "pyproject.toml"], faults)


def test_the_path_rule_catches_what_it_forbids():
    assert MACHINE_PATH.search('open("/home/someone/data")')
    assert not MACHINE_PATH.search("https://host/home/page and data/tmp/x")


def test_pages_that_are_pointed_to_are_there():
    def faults(path: Path) -> list[str]:
        pages = re.findall(r"\bdocs/[\w./-]*\.(?:md|png)", text_of(path))
        return [page for page in pages if not (ROOT / page).is_file()]

    check_all([*SOURCES, ROOT / "README.md"], faults)


def function_lengths() -> list[int]:
    return sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
    )


def test_functions_are_short():
    lengths = function_lengths()
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.9)] <= 40
    assert lengths[-1] <= 120


def texts_in_the_locales_encoding(tree: ast.AST) -> list[int]:
    """Return the lines that read or write text files without naming their encoding."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        named = any(keyword.arg == "encoding" for keyword in node.keywords)
        plain = {"read_text": 0, "write_text": 1}.get(node.func.attr)
        if plain is not None and not named and len(node.args) <= plain:
            found.append(node.lineno)
    return found


def test_texts_name_their_encoding():
    check_all(SOURCES, lambda path: texts_in_the_locales_encoding(tree_of(path)))


def test_a_text_in_the_locales_encoding_is_found():
    source = (
        "p.read_text()\np.write_text(t)\np.read_text(encoding='utf-8')\np.write_text(t, encoding='utf-8')"
    )
    assert texts_in_the_locales_encoding(ast.parse(source)) == [1, 2]
