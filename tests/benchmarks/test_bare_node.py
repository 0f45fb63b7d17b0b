"""A bundle in a virtual environment that has only torch, numpy, pandas, numba, scipy and what these need."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.bundle.bringing_home import bring_home
from benchmarks.bundle.make_bundle import CARRIED, PACKAGES, make_bundle, why_not_fetched
from benchmarks.bundle.run_here import NEEDED
from eggan.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = ["unshare", "--user", "--map-root-user", "--net"]
# What a node need not have, and what would come with it.
ABSENT = (
    "mlflow",
    "optuna",
    "pyarrow",
    "matplotlib",
    "sklearn",
    "torchvision",
    "lpips",
    "requests",
    "sqlalchemy",
    "onnxruntime",
)
NOT_READ_THERE = ("eggan/demo/page/", "eggan/edit/examples/")  # of the sources: a page, and a photograph


def needed_by(names: Sequence[str]) -> set[str]:
    """Return the distributions that `names` need here, themselves included, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [re.match(r"[\w.-]+", text)[0] for text in wanted if "extra ==" not in text]
    return found


def installed_wheels(requirements: Sequence[str], python: str, folder: Path) -> None:
    """Make wheels of what is installed here, in the place of a download."""
    for name in (text.partition("==")[0] for text in requirements):
        found = importlib.metadata.distribution(name)
        files = [path for path in found.files if ".." not in path.parts and "__pycache__" not in path.parts]
        pure = not any(path.suffix == ".so" for path in files)
        kind = "py3-none-any" if pure else "cp311-abi3-linux_x86_64"
        wheel = folder / f"{name.replace('-', '_')}-{found.version}-{kind}.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in files:
                archive.write(found.locate_file(path), str(path))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "bundle"
    assert make_bundle(out, f"3.{sys.version_info.minor}", installed_wheels) < 40e6
    return out


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of a virtual environment with links to the packages that a bare node has."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in needed_by(NEEDED):
        found = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in found.files if path.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))
    return folder / "bin" / "python"


def called(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without a network, where this system lets a user take it away."""
    able = shutil.which("unshare") and subprocess.run([*OFFLINE, "true"], capture_output=True).returncode == 0
    command = [*(OFFLINE if able else []), *map(str, words)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_a_bundle_has_no_tests_documents_or_caches_and_only_the_wheels_that_a_node_lacks(bundle):
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    tops = {name.split("/")[1] for name in names if name.startswith("source/")}
    assert tops == {"eggan", "baselines", "benchmarks", "bundle.json", "LICENSE", "NOTICE"}
    assert not [name for name in names if "__pycache__" in name]
    assert len([name for name in names if name.startswith("wheels/")]) == len(CARRIED)
    assert {module for module, _ in CARRIED}.isdisjoint(ABSENT)
    assert (bundle / "run").stat().st_mode & 0o111
    assert make_bundle(bundle, "3.11", installed_wheels) < 40e6  # an earlier bundle is replaced


def test_a_bundle_has_every_file_of_the_sources_that_a_run_may_read(bundle):
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("the sources are no git checkout")
    wanted = [name for name in listed.stdout.splitlines() if not name.startswith(NOT_READ_THERE)]
    assert "eggan/faces/face_landmark.onnx" in wanted
    assert [name for name in wanted if not (bundle / "source" / name).is_file()] == []


def test_another_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'mine\.txt', which this program did not write"):
        make_bundle(tmp_path, "3.11", installed_wheels)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.7", "a bundle needs Python 3.11 or newer, not 2.7"),
        ("3.10", "a bundle needs Python 3.11 or newer, not 3.10"),
        ("3", "'3' is not a version of Python, such as 3.12"),
        ("3.12.1", "'3.12.1' is not a version of Python"),
        ("new", "'new' is not a version of Python"),
    ],
)
def test_a_python_that_no_bundle_runs_on_is_named_before_anything_is_downloaded(
    eggan, tmp_path, monkeypatch, version, said
):
    monkeypatch.setattr("benchmarks.bundle.make_bundle.subprocess", None)
    status, _, err = eggan("bench", "bundle", "--python", version, "--out", tmp_path / "bundle")
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert not (tmp_path / "bundle").exists()


NONE = "ERROR: No matching distribution found for pillow==12.0.0\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (NONE, "there is no wheel of pillow==12.0.0 for Python 3.20: choose another --python"),
        (f"WARNING: Retrying after connection broken by 'X': /pillow/\n{NONE}", "index does not answer"),
        ("ERROR: no room\n", "the wheels for Python 3.20 cannot be downloaded: no room"),
        ("", "the wheels for Python 3.20 cannot be downloaded: pip failed"),
    ],
)
def test_wheels_that_cannot_be_had_are_told_from_an_index_that_does_not_answer(said, reason):
    assert reason in why_not_fetched(said, "3.20")


CODE = """
import sys, time, dataclasses
from pathlib import Path
import torch
for name in {absent!r}:
    sys.modules[name] = None
sys.path.append({root!r})
from benchmarks.bundle import cell_workers, node_suite
from benchmarks.bundle.node_run import NodeRun
from benchmarks.bundle.packing import pack
from benchmarks.bundle.timing import Timed, timed_cell
from eggan.tracking.provenance import code_version
from tests.benchmarks.fakes import TRAINING, make_bench, tiny_suite
slow = lambda *given: Timed(max(1.0, timed_cell(*given).seconds))  # as on a slow machine: few images fit
cell_workers.timed_cell = slow
suite = tiny_suite(training=dataclasses.replace(TRAINING, log_every=1000, probe_every=100_000))
read = cell_workers.node_instruments("cpu")
faces = torch.zeros(2, 3, 64, 64)
assert read.a.predict(faces).shape == read.b.predict(faces).shape == (2, 17)
assert len(read.verifier.embed(faces)) == 2 and read.landmarks is None
run = NodeRun(Path("out"), 1.0, time.monotonic() + 60)
assert node_suite.run_within([suite], make_bench(Path("out")), run)
print(*pack(Path("out")).parts, code_version()["commit"])
"""


@pytest.mark.slow
def test_a_bare_node_without_a_network_keeps_to_its_minutes_trains_scores_and_packs(
    bundle, bare_python, tmp_path
):
    """The command with so few minutes that it is stopped, then a small suite, whose results come home."""
    started = time.monotonic()
    words = ["quick", "--minutes", "0.25", "--device", "cpu", "--workers", "1"]
    done = called(bare_python, bundle / "run", *words, cwd=tmp_path)
    assert time.monotonic() - started < 15 + 5  # the interpreter's own start and end are beside the minutes
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("the minutes are over")
    assert "ModuleNotFoundError" not in done.stderr
    words = ["standard", "--minutes", "8", "--images", "own", "--seed", "3", "--dry-run"]
    listed = called(bare_python, bundle / "run", *words, cwd=tmp_path).stdout.splitlines()[1:]
    assert [line.split() for line in listed] == [
        ["1", "eggan/synfacs-64/s3", "144,000"],
        ["2", "eggan-w/synfacs-64/s3", "144,000"],
    ]
    packages = tmp_path / "results" / ".packages"
    assert (packages / "safetensors").is_dir()
    code = CODE.format(absent=ABSENT, root=str(ROOT))
    done = called("env", f"PYTHONPATH={bundle / 'source'}:{packages}", bare_python, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    archive, commit = done.stdout.splitlines()[-1].split()
    assert re.fullmatch("[0-9a-f]{40}|unknown", commit)
    assert list((tmp_path / "out").rglob("*.parquet")) == []
    assert bring_home([tmp_path / archive], tmp_path / "runs") == ["results-1-of-1.eggan: 5 cells brought"]
    assert len(list((tmp_path / "runs").glob("cells/*/scores/pairs-test.parquet"))) == 5
