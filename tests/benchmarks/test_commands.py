import socket
import time
from types import SimpleNamespace

import pytest

from benchmarks.running.bench_console import summary_text
from benchmarks.running.cells import former_cells, settle
from benchmarks.running.environment import BenchEnvironment
from benchmarks.suites import methods
from benchmarks.suites.suite import SUITES, find_suite
from eggan.config import to_dict
from eggan.errors import UserError
from eggan.files import write_json
from eggan.method import MethodEntry
from eggan.tracking.record import RunRecord, write_record


def test_list_names_suites_and_methods(eggan):
    status, out, _ = eggan("bench", "list")
    assert status == 0
    for name in ("quick", "standard", "paper", "eggan", "oracle"):
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["enormous"], "quick, standard, twin, paper"),
        (["quick", "--only", "magic"], "copy-source, target-passthrough, mean-au, oracle, eggan"),
        (["quick", "--seed", "9"], "known: 0"),
        (["quick", "--device", "abacus"], "here: cpu"),
        (["quick", "--processes", "0"], "at least 1"),
    ],
)
def test_a_wrong_choice_lists_what_there_is(eggan, tmp_path, arguments, listed):
    status, _, error = eggan(
        "bench", "run", *arguments, "--runs", tmp_path / "runs", "--data", tmp_path / "data"
    )
    assert status == 2
    assert listed in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_tracking_server_that_does_not_answer_is_told_before_anything_is_built(eggan, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started = time.monotonic()
    status, _, error = eggan(
        "bench", "run", "quick", "--tracking-uri", f"http://127.0.0.1:{port}",
        "--runs", tmp_path / "runs", "--data", tmp_path / "data",
    )  # fmt: skip
    assert status == 2
    assert "--offline" in error
    assert len(error.strip().splitlines()) == 1
    assert time.monotonic() - started < 10
    assert not (tmp_path / "data").exists()


def test_dry_run_before_the_dataset_exists_builds_nothing(eggan, tmp_path):
    status, out, _ = eggan(
        "bench", "run", "quick", "--dry-run", "--runs", tmp_path / "runs", "--data", tmp_path / "data"
    )
    assert status == 0
    assert "eggan/synfacs-64/s0" in out
    assert "minutes" in out
    assert "MiB" in out
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_a_dataset_of_another_size_is_said_before_a_store_is_opened(
    eggan, tmp_path, dataset_folder, monkeypatch, dry
):
    monkeypatch.setattr("eggan.tracking.store.open_store", lambda *_: pytest.fail("the store was opened"))
    words = ("--dataset", dataset_folder, "--runs", tmp_path / "runs", *dry)
    status, _, err = eggan("bench", "run", "paper", *words)
    assert (status, err.count("\n")) == (2, 1), err
    assert "has 64 px images, the suite paper 128 px: choose another dataset or suite" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("folder", ["runs", "data"])
def test_a_dry_run_refuses_a_place_that_the_run_would_refuse(eggan, tmp_path, monkeypatch, folder):
    def refuse(place):
        if place.name == folder:
            raise UserError(f"cannot write {place}: it is read-only for you")

    monkeypatch.setattr("benchmarks.running.bench_session.check_writable", refuse)
    places = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    for dry in (("--dry-run",), ()):
        status, out, err = eggan("bench", "run", "quick", *places, "--offline", *dry)
        assert (status, out, err) == (
            2,
            "",
            f"eggan: cannot write {tmp_path / folder}: it is read-only for you\n",
        )


def test_a_dry_run_lists_the_chosen_cells_alone(eggan, tmp_path):
    places = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    words = ("--only", "eggan", "--only", "oracle", "--seed", "0", "--seed", "3")
    status, out, _ = eggan("bench", "run", "standard", *words, *places, "--dry-run")
    assert status == 0
    listed = [line.split()[0] for line in out.splitlines()[1:-1]]
    assert listed == ["oracle/synfacs-64/s0", "eggan/synfacs-64/s0", "eggan/synfacs-64/s3"]


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize("given", ["option", "environment"])
def test_what_is_no_address_of_a_store_is_said_by_a_dry_run_too(eggan, tmp_path, monkeypatch, words, given):
    option = ("--tracking-uri", "nowhere") if given == "option" else ()
    if not option:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere")
    places = ("--runs", tmp_path / "runs", "--data", tmp_path / "data")
    status, out, err = eggan("bench", "run", "quick", *places, *option, *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "'nowhere' is not a tracking URI" in err


def test_status_of_an_empty_folder_says_how_to_start(eggan, tmp_path):
    status, out, _ = eggan("bench", "status", "--runs", tmp_path)
    assert status == 0
    assert "eggan bench run quick" in out


def test_a_cell_of_which_little_is_left_is_listed_with_its_reason(eggan, tmp_path):
    folder = tmp_path / "cells" / "damaged"
    write_record(RunRecord("x", {"kind": "cell"}, state="finished"), folder)
    (folder / "cell.json").write_text("{")
    for _ in range(2):
        status, out, _ = eggan("bench", "status", "--runs", tmp_path)
        assert status == 0
        assert "cell.json is corrupted" in out
        settle(folder, None)  # as a sync does


WRONG_KINDS = [
    {"spec": None},
    {"spec": ["tiny"]},
    {"spec": {"suite": ["tiny"]}},
    {"spec": {"suite": "tiny", "training": 3}},
    {"spec": {"seed": "0"}},
    {"spec": {"datasets": {"twin": 5}}},
    {"seconds": "abc"},
    {"seconds": None},
    {"seconds": 10**400},
    {"peak_memory_mib": []},
    {"name": 5},
    {"reason": {}},
    {"trained": {"cost/images_per_second": "fast"}},
    {"trained": 3},
    {"alarms": "none"},
    {"state": 1},
]


@pytest.mark.parametrize("wrong", WRONG_KINDS, ids=lambda wrong: str(wrong)[:40])
def test_a_cell_of_another_shape_is_listed_as_corrupted_and_ends_no_command(eggan, tmp_path, wrong):
    whole = {"state": "finished", "reason": "", "spec": {"suite": "tiny"}, "name": "x/y/s0", "seconds": 60}
    write_json(whole | wrong, tmp_path / "cells" / "wrong" / "cell.json")
    write_json(whole, tmp_path / "cells" / "whole" / "cell.json")
    status, out, _ = eggan("bench", "status", "--runs", tmp_path)
    assert status == 0
    (own,) = (line for line in out.splitlines() if " wrong " in line)
    assert own.split()[:4] == ["?", "?", "failed", "0.0"]
    assert own.endswith("cell.json is corrupted")
    assert "tiny   x/y/s0  finished  1.0" in out
    assert former_cells(tmp_path) == 0
    words = ("bench", "run", "quick", "--only", "eggan", "--dry-run", "--offline", "--runs", tmp_path)
    assert eggan(*words, "--data", tmp_path / "data")[0] == 0


WRONG_SCORES = [["x"], {"test/au/mse": "low"}, {"test/au/mse": 10**400}, 3]


@pytest.mark.parametrize("wrong", WRONG_SCORES, ids=lambda wrong: str(wrong)[:40])
def test_scores_of_another_shape_are_one_line(tmp_path, wrong):
    write_json({"state": "finished"}, tmp_path / "runs" / "cells" / "k" / "cell.json")
    write_json(wrong, tmp_path / "runs" / "cells" / "k" / "scores" / "summary.json")
    plan = SimpleNamespace(spec=SimpleNamespace(key="k", name="x"))
    with pytest.raises(UserError, match=r"summary\.json is missing or damaged: remove .*, and the suite's"):
        summary_text([plan], BenchEnvironment(tmp_path / "runs", tmp_path, "cpu"))


def test_ui_refuses_a_port_in_use(eggan, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, error = eggan("ui", "--port", taken.getsockname()[1], "--runs", tmp_path)
    assert status == 2
    assert "--port" in error


@pytest.mark.parametrize("name", list(SUITES))
def test_every_row_of_a_suite_can_be_built(name):
    suite = find_suite(name)
    for row in suite.rows:
        entry = methods.all_methods()[row.method]
        assert isinstance(entry, MethodEntry) == (row.training is not None)
        if isinstance(entry, MethodEntry):
            assert to_dict(entry.presets[row.preset])["image_size"] == suite.image_size


def test_suites_cannot_be_changed():
    with pytest.raises(TypeError):
        SUITES["mine"] = SUITES["quick"]  # type: ignore[index]


def test_a_third_party_method_must_be_a_new_entry(monkeypatch):
    from importlib.metadata import EntryPoint

    for taken in ("eggan", "eggan-wtp"):
        point = EntryPoint(taken, "os:getcwd", methods.GROUP)
        monkeypatch.setattr(methods, "entry_points", lambda group, point=point: [point])
        with pytest.raises(UserError, match="redefines"):
            methods.all_methods()
    monkeypatch.setattr(methods, "entry_points", lambda group: [EntryPoint("mine", "os:getcwd", group)])
    with pytest.raises(UserError, match="not a MethodEntry"):
        methods.all_methods()
