"""Suites on a node without a network: minutes hold, images are equal, archives come home or are refused."""

import argparse
import dataclasses
import hashlib
import io
import json
import shutil
import signal
import stat
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save

from benchmarks.bundle import archive_format, cell_workers, node, node_suite, packing
from benchmarks.bundle.archive_format import MANIFEST, read_parts, write_parts
from benchmarks.bundle.bringing_home import bring_home
from benchmarks.bundle.budget import (
    BUDGET_FILE,
    divided,
    read_budget,
)
from benchmarks.bundle.cell_workers import InTurn, SideBySide
from benchmarks.bundle.node_run import NodeRun
from benchmarks.bundle.packing import pack
from benchmarks.bundle.timing import Timed
from benchmarks.running.cells import all_cells, read_status, write_status
from benchmarks.running.environment import open_suite
from benchmarks.running.suite_run import plan_suite
from benchmarks.suites.methods import METHODS, shipped_rows
from benchmarks.suites.suite import CROWD, Row, find_suite
from eggan import tracking
from eggan.errors import UserError
from eggan.tracking import read_record
from reports.suite.frame import read_store
from reports.suite.suite_page import facts
from tests.benchmarks.fakes import (
    TRAINING,
    FakeConfig,
    PaintingMethod,
    fake_entry,
    make_bench,
    silent,
    tiny_suite,
)

SUITE = tiny_suite(training=dataclasses.replace(TRAINING, log_every=10, probe_every=10_000))
SECONDS = 100.0
MINUTES = SECONDS / 60
SECONDS_PER_IMAGE = 0.5  # as if it were a slow machine: few images fit, however fast this one is


def run_here(out: Path, seconds: float = SECONDS, **choice) -> bool:
    """Run the tiny suite as a node does; `out` has datasets and results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_workers, "timed_cell", lambda plan, opened: Timed(SECONDS_PER_IMAGE))
        run = NodeRun(out, seconds / 60, time.monotonic() + seconds, **choice)
        return node_suite.run_within([SUITE], make_bench(out), run)


@pytest.fixture(scope="module")
def node_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's folder after a run that finished, packed."""
    out = tmp_path_factory.mktemp("node")
    assert run_here(out)
    pack(out)
    return out


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, locks apart."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- minutes


def test_the_suite_for_a_node_has_every_method_of_64_px_and_bf16_where_the_device_has_it():
    suite = find_suite("node")
    methods = {row.method for row in suite.rows}
    assert {
        "eggan",
        "eggan-w",
        "stargan",
        "homointerpgan",
        "ganimation",
        "oracle",
        "eggan-shipped",
    } <= methods
    trained = [row for row in suite.rows if row.training]
    assert {row.training.autocast for row in trained} == {"auto"}
    assert [row.method for row in trained if row.learns_from == CROWD] == ["eggan-w"]


def test_a_run_trains_all_on_the_images_that_fit_and_keeps_the_number(node_results):
    images = read_budget(node_results, "tiny", MINUTES).images
    assert 4 <= images <= 0.85 * 100 / SECONDS_PER_IMAGE
    assert images % 4 == 0
    specs = [read_status(cell).values["spec"] for cell in all_cells(node_results / "runs")]
    assert [spec["training"]["images"] for spec in specs if spec["training"]] == [images]
    before = (node_results / BUDGET_FILE).read_bytes()
    assert run_here(node_results)
    assert (node_results / BUDGET_FILE).read_bytes() == before
    with pytest.raises(UserError, match="holds results of the suite tiny: choose another --out"):
        read_budget(node_results, "quick", MINUTES)


def test_scoring_is_expected_to_take_as_long_as_that_of_shipped_weights(tmp_path):
    """The oracle renders its edits, and takes longer than any method will."""
    bench = dataclasses.replace(make_bench(tmp_path), methods={**METHODS, **shipped_rows()})
    seconds = {"oracle": 90.0, "copy-source": 60.0, "eggan-shipped": 7.0, "eggan-w-shipped": 8.0}
    suite = dataclasses.replace(tiny_suite(), rows=tuple(map(Row, seconds)))
    plans = plan_suite(open_suite(suite, bench))
    for plan in plans:
        write_status(bench.cell_folder(plan.spec.key), "finished", seconds=seconds[plan.spec.method])
    assert node_suite.scoring_seconds(plans, bench) == 8.0
    assert node_suite.scoring_seconds(plans[:2], bench) == 90.0
    assert node_suite.scoring_seconds([], bench) == 0.0


def test_too_few_minutes_are_one_line_and_what_needs_no_training_is_kept(tmp_path):
    with pytest.raises(UserError, match="minutes are too few"):
        run_here(tmp_path, seconds=0.0)
    packed = pack(tmp_path)
    assert packed.not_begun == ["painter/synfacs-fake/s0"]
    lines = bring_home(packed.parts, tmp_path / "home")
    assert lines == [
        "results-1-of-1.eggan: 4 cells brought",
        "results-1-of-1.eggan: not begun: painter/synfacs-fake/s0",
    ]


def test_a_process_that_does_not_stop_when_asked_is_ended_in_time(capfd):
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    started = time.monotonic()
    assert node._within([sys.executable, "-c", ignoring], 1.0, 0.5) == -signal.SIGKILL
    assert time.monotonic() - started < 10
    assert "the minutes are over" in capfd.readouterr().out


def test_a_process_that_ends_by_itself_is_not_waited_for():
    assert node._within([sys.executable, "-c", "raise SystemExit(3)"], 60.0, 60.0) == 3


@pytest.mark.parametrize("at_once", [1, 4])
def test_cells_that_need_no_training_are_a_run_of_their_own(tmp_path, monkeypatch, at_once):
    given = argparse.Namespace(stopping=1.0)
    workers = InTurn() if at_once == 1 else SideBySide(given, at_once)
    monkeypatch.setattr(SideBySide, "run", InTurn.run)  # what they run is tested beside
    run = NodeRun(tmp_path, 1.0, time.monotonic() + 60, only=["copy-source", "mean-au"])
    assert node_suite.run_within([SUITE], make_bench(tmp_path), run, workers)
    assert len(all_cells(tmp_path / "runs")) == 2
    assert not (tmp_path / "budget.json").exists()


def test_a_method_that_cannot_be_trained_fails_alone_and_its_traceback_comes_home(tmp_path, capsys):
    crashing = dataclasses.replace(fake_entry(), name="crasher", presets={"good": FakeConfig(fail="crash")})
    bench = make_bench(tmp_path)
    bench = dataclasses.replace(bench, methods={**bench.methods, "crasher": crashing})
    training = dataclasses.replace(TRAINING, log_every=10_000, probe_every=10_000)
    rows = (*tiny_suite(training=training).rows, Row("crasher", "good", training))
    suite = dataclasses.replace(tiny_suite(), rows=rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_suite, "divided", lambda *given: divided(*given[:3], 0.2, 0.0, given[5]))
        assert not node_suite.run_within([suite], bench, NodeRun(tmp_path, 1.0, time.monotonic() + 60))
    assert "crasher cannot be timed: a bug in the method" in capsys.readouterr().out
    bring_home(pack(tmp_path).parts, tmp_path / "home")
    states = {read_status(cell).values["name"]: cell for cell in all_cells(tmp_path / "home")}
    assert read_status(states["painter/synfacs-fake/s0"]).state == "finished"
    failed = states["crasher/synfacs-fake/s0"]
    assert read_status(failed).reason == "RuntimeError: a bug in the method"
    assert "in update" in (failed / "traceback.txt").read_text()


# --- archives


def test_results_come_home_into_cells_tracking_and_reports(node_results, tmp_path, eggan):
    parts = sorted(node_results.glob("results-*.eggan"))
    runs = tmp_path / "runs"
    status, out, _ = eggan("bench", "sync", *parts, "--runs", runs)
    assert status == 0
    assert f"{parts[0].name}: 5 cells brought\n" in out
    for cell in all_cells(node_results / "runs"):
        ours, theirs = (contents(folder / "cells" / cell.name) for folder in (runs, node_results / "runs"))
        assert {name: ours[name] for name in theirs if not name.endswith((".npz", ".pt"))} == {
            name: digest for name, digest in theirs.items() if not name.endswith((".npz", ".pt"))
        }
    with np.load(next(runs.glob("cells/*/scores/showcase.npz"))) as ours:
        path = (
            node_results / "runs" / "cells" / Path(ours.zip.filename).parents[1].name / "scores/showcase.npz"
        )
        with np.load(path) as theirs:
            assert set(ours) == set(theirs)
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name])
    frame = read_store(tracking.open_store(None, runs), "tiny", {}, silent)
    assert set(frame.cells["state"]) == {"finished"}
    assert len(frame.cells) == 5
    assert "train/val/au_mse" in set(frame.curves["metric"])  # what says whether a curve has flattened
    assert len(frame.showcases) == 4  # of all but the mean AU, which answers with no image
    head = dict(facts(frame))
    assert f"{read_budget(node_results, 'tiny', MINUTES).images:,} images per method" in head["Budget"]
    assert head["Budget"].startswith("1.66667 minutes in all, ")
    assert "cpu" in head["Machine"]
    before = contents(runs)
    status, out, _ = eggan("bench", "sync", *parts, "--runs", runs)
    assert status == 0
    assert "0 cells brought, 5 were here already" in out
    assert {name for name, digest in contents(runs).items() if before.get(name) != digest} <= {"mlflow.db"}


def test_a_cell_that_was_not_finished_is_replaced_by_the_finished_one(node_results, tmp_path, monkeypatch):
    monkeypatch.setattr(PaintingMethod, "update", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt("over")))
    shutil.copytree(node_results / "faces", tmp_path / "faces")
    shutil.copy(node_results / BUDGET_FILE, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_here(tmp_path)
    home = tmp_path / "home"
    bring_home(pack(tmp_path).parts, home)
    states = {read_status(cell).values["name"]: read_status(cell) for cell in all_cells(home)}
    assert states["painter/synfacs-fake/s0"].state == "interrupted"
    assert read_record(home / "suites" / "tiny").state == "interrupted"
    lines = bring_home(sorted(node_results.glob("results-*.eggan")), home)
    assert lines == ["results-1-of-1.eggan: 1 cells brought, 4 were here already"]
    assert {read_status(cell).state for cell in all_cells(home)} == {"finished"}


def test_large_results_are_split_and_only_all_parts_together_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_format, "PART_BYTES", 20_000)
    whole = bytes(range(250)) * 200
    parts = write_parts(whole, tmp_path)
    assert [path.name for path in parts] == [f"results-{k}-of-3.eggan" for k in (1, 2, 3)]
    assert all(path.stat().st_size <= 20_000 for path in parts)
    assert read_parts([parts[2], parts[0], parts[1]]) == [(parts[2], whole)]
    with pytest.raises(
        UserError, match="is one of 3 parts, and part 2 is missing: name all of them in one call"
    ):
        bring_home([parts[0], parts[2]], tmp_path / "runs")
    parts[1].write_bytes(parts[1].read_bytes()[:-1] + b"y")
    with pytest.raises(UserError, match="is damaged, or another part of it is"):
        bring_home(parts, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_weights_that_have_no_room_are_named(node_results, monkeypatch):
    monkeypatch.setattr("benchmarks.bundle.packing.MOST_PARTS", 1)
    (weights,) = node_results.glob("runs/cells/*/weights.safetensors")
    large = weights.read_bytes() + bytes(14_000_000)
    kept = weights.read_bytes()
    weights.write_bytes(large)
    try:
        packed = pack(node_results)
    finally:
        weights.write_bytes(kept)
        pack_again = pack(node_results)
    assert packed.left_out == [weights.relative_to(node_results / "runs").as_posix()]
    assert not pack_again.left_out


def test_pictures_that_have_no_room_are_named_and_the_scores_come_home(node_results, tmp_path, monkeypatch):
    shutil.copytree(node_results / "runs", tmp_path / "runs")
    shown = sorted((tmp_path / "runs").glob("cells/*/scores/showcase.npz"))
    later = shown[0].parents[1]  # as if it were of another seed
    cell = json.loads((later / "cell.json").read_text())
    (later / "cell.json").write_text(json.dumps(cell | {"spec": cell["spec"] | {"seed": 1}}))
    cells = all_cells(tmp_path / "runs")
    pictures = {name: len(content) for name, content in packing._pictures(cells)}
    (whole,) = pack(tmp_path).parts
    monkeypatch.setattr(packing, "MOST_PARTS", 1)
    monkeypatch.setattr(packing, "PART_BYTES", packing.MARGIN_BYTES + whole.stat().st_size - 1_000)
    packed = pack(tmp_path)
    assert list(pictures)[-2:] == [
        f"cells/{later.name}/scores/showcase.safetensors",
        f"cells/{later.name}/images/probe_sheet.png",
    ]
    assert f"cells/{later.name}/scores/showcase.safetensors" in packed.left_out
    assert set(packed.left_out) <= set(pictures) | {name for name, _ in packing._weights(cells)}
    ((_, content),) = read_parts(packed.parts)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        there = set(archive.namelist())
    assert {name for name, _ in packing._results(tmp_path / "runs", cells)} < there
    assert there & set(pictures)
    assert not there & set(packed.left_out)
    monkeypatch.setattr(packing, "PART_BYTES", packing.MARGIN_BYTES + 10_000)
    with pytest.raises(UserError, match="too large for an archive: copy the folder"):
        pack(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04}", b"[" * 5000, b'{"format": "eggan-results"}\n', b"{}\nPK", b"PK\x03\x04"]
)
def test_any_other_file_is_no_archive(tmp_path, content):
    path = tmp_path / "x.eggan"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.eggan is no archive of results"):
        bring_home([path], tmp_path / "runs")


Members = dict[str, bytes]


def changed(parts: list[Path], folder: Path, change) -> list[Path]:
    """Write an archive of which `change(members, manifest, extra)` has altered what it holds."""
    ((_, content),) = read_parts(parts)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: Members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    extra: list[tuple[zipfile.ZipInfo, bytes]] = []
    change(members, extra)
    manifest["files"] = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in [*members.items(), *((info.filename, data) for info, data in extra)]
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for info, data in extra:
            archive.writestr(info, data)
        archive.writestr(MANIFEST, json.dumps(manifest))
    folder.mkdir()
    return write_parts(buffer.getvalue(), folder)


def cell_of(members: Members, method: str = "painter") -> str:
    """Return the folder of a method's cell in an archive."""
    found = [name for name in members if name.endswith("/cell.json")]
    return next(n for n in found if json.loads(members[n])["spec"]["method"] == method).removesuffix(
        "/cell.json"
    )


def put(name: str, data: bytes = b"x"):
    return lambda members, extra: extra.append((zipfile.ZipInfo(name), data))


def edited(file: str, **values):
    """Return a change of a JSON file of the painter's cell."""

    def change(members: Members, extra) -> None:
        name = f"{cell_of(members)}/{file}"
        members[name] = json.dumps(json.loads(members[name]) | values).encode()

    return change


def replaced(ending: str, data: bytes):
    def change(members: Members, extra) -> None:
        name = next(name for name in members if name.startswith(cell_of(members)) and name.endswith(ending))
        members[name] = data

    return change


def twice(members: Members, extra) -> None:
    name = f"{cell_of(members)}/config.json"
    extra.append((zipfile.ZipInfo(name), members[name]))


def a_link(members: Members, extra) -> None:
    info = zipfile.ZipInfo(f"{cell_of(members)}/images/x.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    extra.append((info, b"/etc/passwd"))


def another_seed(members: Members, extra) -> None:
    name = f"{cell_of(members)}/cell.json"
    cell = json.loads(members[name])
    members[name] = json.dumps(cell | {"spec": cell["spec"] | {"seed": 7}}).encode()


def without_scores(members: Members, extra) -> None:
    del members[f"{cell_of(members)}/scores/summary.json"]


def a_large_picture(members: Members, extra) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    replaced("probe_sheet.png", buffer.getvalue())(members, extra)


def named(names: list[str]) -> bytes:
    return save({"x": np.zeros(1)}, {"names": json.dumps(names)})


def a_wide_table(members: Members, extra) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({f"c{k}": pa.nulls(100_000, pa.int8()) for k in range(501)}), buffer)
    replaced("pairs-test.parquet", buffer.getvalue())(members, extra)


HOSTILE = {
    "outside": (put("../evil.json"), "no file of results"),
    "absolute": (put("/tmp/evil.json"), "no file of results"),
    "inside but up": (put("cells/" + "0" * 20 + "/../../x.json"), "no file of results"),
    "backslash": (put("cells\\..\\x.json"), "no file of results"),
    "pickle": (put("cells/" + "0" * 20 + "/training_state.pt"), "no file of results"),
    "npz": (put("cells/" + "0" * 20 + "/scores/showcase.npz"), "no file of results"),
    "another name": (put("cells/" + "0" * 20 + "/.lock"), "no file of results"),
    "link": (a_link, "is no plain file"),
    "a file twice": (twice, "holds a file twice"),
    "another cell": (another_seed, "is not that cell's"),
    "no specification": (edited("cell.json", spec=None), "is not that cell's"),
    "a list for one": (edited("cell.json", spec=["painter"]), "is not that cell's"),
    "seconds that are none": (edited("cell.json", seconds="abc"), "is not that cell's"),
    "a name that is none": (edited("cell.json", name=5), "is not that cell's"),
    "running": (edited("cell.json", state="running"), "is interrupted|is running|is not that cell's"),
    "artifacts elsewhere": (edited("run.json", artifacts=["../../../*"]), "names other files than a cell's"),
    "parent elsewhere": (edited("run.json", parent="../../../x"), "names other files than a cell's"),
    "no record": (edited("run.json", unknown=1), "is no record of a run"),
    "no scores": (without_scores, "has no scores"),
    "json": (replaced("config.json", b"{"), "config.json of .* is damaged"),
    "deep json": (replaced("config.json", b"[" * 100_000), "config.json of .* is damaged"),
    "weights": (replaced("weights.safetensors", b"\x80\x04}"), "weights.safetensors of .* is damaged"),
    "pictures": (replaced("showcase.safetensors", b"\xff" * 64), "showcase.safetensors of .* is damaged"),
    "long names": (replaced("showcase.safetensors", named(["x" * 10**5, *"y" * 10**5])), "is damaged"),
    "table": (replaced("pairs-test.parquet", b"PAR1"), "pairs-test.parquet of .* is damaged"),
    "wide table": (a_wide_table, "is too long a table"),
    "png": (replaced("probe_sheet.png", b"\x89PNG"), "probe_sheet.png of .* is damaged"),
    "large png": (a_large_picture, "is too large a picture|is damaged"),
    "log": (replaced("metrics.jsonl", b'{"step": "a"}\n'), "is no logged value"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_and_changes_nothing(name, node_results, tmp_path):
    change, reason = HOSTILE[name]
    parts = changed(sorted(node_results.glob("results-*.eggan")), tmp_path / "made", change)
    with pytest.raises(UserError, match=f"results-1-of-1.eggan is refused: .*({reason})") as refused:
        bring_home(parts, tmp_path / "runs")
    assert "\n" not in str(refused.value)
    assert ".eggan-" not in str(refused.value)
    assert contents(tmp_path / "runs") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "runs"]


def test_of_several_archives_all_are_checked_before_one_is_taken(node_results, tmp_path):
    good = sorted(node_results.glob("results-*.eggan"))
    bad = changed(good, tmp_path / "made", another_seed)
    with pytest.raises(UserError, match=r"made/results-1-of-1\.eggan is refused"):
        bring_home([*good, *bad], tmp_path / "runs")
    assert contents(tmp_path / "runs") == {}
    other = changed(good, tmp_path / "again", edited("config.json"))
    lines = bring_home([*good, *other], tmp_path / "runs")
    assert [line.partition(": ")[2] for line in lines] == [
        "5 cells brought",
        "0 cells brought, 5 were here already",
    ]


def test_an_unchanged_archive_made_in_the_same_way_is_taken(node_results, tmp_path):
    parts = changed(sorted(node_results.glob("results-*.eggan")), tmp_path / "made", lambda *_: None)
    assert bring_home(parts, tmp_path / "runs") == ["results-1-of-1.eggan: 5 cells brought"]


def test_an_archive_that_unpacks_to_more_than_any_node_writes_is_refused(node_results, tmp_path, monkeypatch):
    bomb = zipfile.ZipInfo("suites/tiny/metrics.jsonl")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    parts = changed(
        sorted(node_results.glob("results-*.eggan")),
        tmp_path / "made",
        lambda members, extra: [members.pop(bomb.filename, None), extra.append((bomb, bytes(20_000_000)))],
    )
    monkeypatch.setattr("benchmarks.bundle.bringing_home.MOST_BYTES", 19_000_000)
    with pytest.raises(UserError, match="is refused: it holds more than any node's results"):
        bring_home(parts, tmp_path / "runs")
    large = tmp_path / "large.eggan"
    with large.open("wb") as stream:
        stream.truncate(archive_format.PART_BYTES + 1)
    with pytest.raises(UserError, match="it is larger than any part of one"):
        bring_home([large], tmp_path / "runs")
