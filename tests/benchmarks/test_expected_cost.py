"""What a dry run expects a cell to cost: as finished cells, else as a speed measured here, else a guess."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from benchmarks.running.cells import TRAINED, WEIGHTS_OF
from benchmarks.running.expected_cost import SCORING_MINUTES, expected_cost
from benchmarks.running.measured_speed import measured_rate
from benchmarks.speed import SpeedSettings
from benchmarks.speed_command import track
from benchmarks.suites.methods import METHODS
from benchmarks.suites.suite import SUITES, Row
from eggan import tracking
from eggan.config import to_dict
from eggan.files import write_json
from tests.benchmarks.fakes import make_bench

EGGAN = METHODS["eggan"]
ROW = Row("eggan", "minutes", SUITES["quick"].rows[4].training, 3.5)


def measure(runs: Path, name: str, rate: float, device: str = "cpu", **settings) -> Path:
    """Leave what `eggan bench speed` tracks."""
    chosen = SpeedSettings(["eggan"], **settings)
    folder = runs / "speed" / name
    track(folder, {"machine": {}, "eggan": {"images_per_second": rate}}, chosen, device, None)
    return folder


def rate_of(runs: Path, preset: str = "minutes", device: str = "cpu", **training):
    settings = dataclasses.replace(ROW.training, **training)
    found = measured_rate(runs, EGGAN, EGGAN.presets[preset], settings, device)
    return found and found.images_per_second


def test_the_newest_measurement_counts_and_names_its_day(tmp_path):
    assert rate_of(tmp_path) is None
    measure(tmp_path, "20261125-100000", 20.0)
    measure(tmp_path, "20261126-100000", 40.0)
    found = measured_rate(tmp_path, EGGAN, EGGAN.presets["minutes"], ROW.training, "cpu")
    assert found is not None
    assert found.images_per_second == 40.0
    assert re.fullmatch(r"bench speed of \d{4}-\d\d-\d\d \d\d:\d\d", found.source)


@pytest.mark.parametrize(
    "settings",
    [{"image_size": 128}, {"precision": "off"}, {"preset": "paper"}, {"preset": "gone"}, {"batch_size": 1}],
)
def test_what_was_measured_of_something_else_does_not_count(tmp_path, settings):
    measure(tmp_path, "20261126-100000", 40.0, **settings)
    assert rate_of(tmp_path) is None


def test_presets_count_as_one_where_their_steps_cost_the_same(tmp_path):
    """`quick` and `minutes` only shorten what comes before; without one of its losses a step is cheaper."""
    measure(tmp_path, "20261126-100000", 40.0, preset="cpu")
    assert rate_of(tmp_path, "minutes") == rate_of(tmp_path, "quick") == 40.0
    cheaper = dataclasses.replace(EGGAN.presets["minutes"], weight_ssim=0.0)
    assert measured_rate(tmp_path, EGGAN, cheaper, ROW.training, "cpu") is None


def test_another_device_another_method_and_a_measurement_that_was_stopped_do_not_count(tmp_path):
    folder = measure(tmp_path, "20261126-100000", 40.0)
    assert rate_of(tmp_path, device="mps") is None
    stargan = METHODS["stargan"]
    assert measured_rate(tmp_path, stargan, stargan.presets["cpu"], ROW.training, "cpu") is None
    record = tracking.read_record(folder)
    for changes in ({"state": "interrupted"}, {"tags": {**record.tags, "machine.cores": "512"}}):
        write_json(dataclasses.asdict(dataclasses.replace(record, **changes)), folder / "run.json")
        assert rate_of(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", '{"name": 5, "tags": {}}'),
        ("metrics.jsonl", "mine\n"),
        ("metrics.jsonl", '{"step": 0, "time_ms": 0, "values": {"eggan/images_per_second": "fast"}}\n'),
        ("size", "large"),
    ],
)
def test_a_damaged_measurement_says_nothing_and_an_older_one_counts(tmp_path, file, text):
    measure(tmp_path, "20261125-100000", 20.0)
    folder = measure(tmp_path, "20261126-100000", 40.0)
    if file == "size":
        record = tracking.read_record(folder)
        file, text = (
            "run.json",
            json.dumps(dataclasses.asdict(record) | {"params": {**record.params, "image_size": text}}),
        )
    (folder / file).write_text(text)
    assert rate_of(tmp_path) == 20.0


def test_a_finished_cell_goes_before_a_measured_speed_and_that_before_a_guess(tmp_path):
    bench = make_bench(tmp_path)
    bench = dataclasses.replace(bench, methods=METHODS)
    guess = expected_cost(ROW, bench)
    assert (guess.minutes, guess.source) == (3.5, "a guess")
    measure(bench.runs, "20261126-100000", 40.0)
    measured = expected_cost(ROW, bench)
    assert measured.minutes == pytest.approx(ROW.training.images / 40 / 60 + SCORING_MINUTES)
    assert measured.source.startswith("bench speed of ")
    only_scored = expected_cost(ROW, bench, trains=False)
    assert (only_scored.minutes, only_scored.source) == (SCORING_MINUTES, "a guess")
    assert expected_cost(Row("oracle"), bench).source == "a guess"
    elsewhere = {**tracking.describe_machine("cpu"), "machine.accelerator": "H100"}
    finished_cell(bench, "1" * 20, 1.0, elsewhere, seconds=42.0, training_seconds=36.0)
    assert expected_cost(ROW, bench).source == measured.source
    finished_cell(bench, "0" * 20, 1.0, seconds=420.0, training_seconds=360.0)
    finished = expected_cost(ROW, bench)
    assert (finished.minutes, finished.source) == (7.0, "1 finished cell")


H100 = {"machine.system": "Linux x86_64", "machine.device": "cuda:0", "machine.accelerator": "H100"}


def test_a_cell_that_was_brought_from_another_machine_says_nothing_of_the_minutes_here(tmp_path):
    """Its training took one minute on a GPU, which it does not on a CPU; its files are as large here."""
    bench = dataclasses.replace(make_bench(tmp_path), methods=METHODS)
    finished_cell(bench, "a" * 20, 2700.0, H100, seconds=130.0, training_seconds=60.0)
    (bench.cell_folder("a" * 20) / "weights.safetensors").write_bytes(bytes(3 << 20))
    cost = expected_cost(ROW, bench)
    assert (cost.minutes, cost.source) == (3.5, "a guess; 1 finished cell of another machine")
    assert cost.mib == pytest.approx(3.0, abs=0.1)
    scored = expected_cost(ROW, bench, trains=False)
    assert (scored.minutes, scored.source) == (
        SCORING_MINUTES,
        "a guess; 1 finished cell of another machine",
    )
    measure(bench.runs, "20261126-100000", 40.0)
    measured = expected_cost(ROW, bench)
    assert measured.minutes == pytest.approx(ROW.training.images / 40 / 60 + SCORING_MINUTES)
    assert measured.source.startswith("bench speed of ")
    finished_cell(bench, "b" * 20, 40.0, seconds=420.0, training_seconds=360.0)
    both = expected_cost(ROW, bench)
    assert (both.minutes, both.source) == (7.0, "1 finished cell")


def test_a_cell_that_scored_weights_of_elsewhere_says_how_long_scoring_takes_alone(tmp_path):
    """It recorded the training that made them, which was another machine's."""
    bench = dataclasses.replace(make_bench(tmp_path), methods=METHODS)
    finished_cell(bench, "a" * 20, 2700.0, H100, seconds=130.0, training_seconds=60.0)
    finished_cell(bench, "b" * 20, 2700.0, seconds=600.0, training_seconds=60.0, weights_of="a")
    scored = expected_cost(ROW, bench, trains=False)
    assert (scored.minutes, scored.source) == (10.0, "1 finished cell")
    cost = expected_cost(ROW, bench)
    assert (cost.minutes, cost.source) == (3.5, "a guess; 1 finished cell of another machine")
    measure(bench.runs, "20261126-100000", 40.0)
    assert expected_cost(ROW, bench).minutes == pytest.approx(ROW.training.images / 40 / 60 + 10)


def test_on_a_gpu_its_own_cells_count_whichever_of_several_it_was(tmp_path, monkeypatch):
    bench = dataclasses.replace(make_bench(tmp_path), methods=METHODS, device="cuda:1")
    monkeypatch.setattr(tracking, "describe_machine", lambda device: H100 | {"machine.device": device})
    assert expected_cost(ROW, bench).source == "a guess, of two CPU cores"
    finished_cell(bench, "a" * 20, 2700.0, H100, seconds=130.0, training_seconds=60.0)
    finished_cell(bench, "b" * 20, 2700.0, H100 | {"machine.device": "cpu"}, seconds=1e4)
    finished_cell(bench, "c" * 20, 2700.0, H100 | {"machine.accelerator": "A100"}, seconds=1e4)
    cost = expected_cost(ROW, bench)
    assert (cost.minutes, cost.source) == (pytest.approx(130 / 60), "1 finished cell")


def finished_cell(
    bench,
    key: str,
    rate: float,
    tags=None,
    training=ROW.training,
    seconds=60.0,
    training_seconds=0.0,
    weights_of="",
    **config,
) -> None:
    """Leave a trained cell of EGGAN as a suite does, with its record."""
    folder = bench.cell_folder(key)
    settings = to_dict(dataclasses.replace(EGGAN.presets["minutes"], **config))
    spec = {"method": "eggan", "training": to_dict(training), "config": settings}
    trained = {"cost/images_per_second": rate, "cost/train_seconds": training_seconds}
    values = {"state": "finished", "spec": spec, "seconds": seconds, TRAINED: trained}
    values |= {WEIGHTS_OF: weights_of} if weights_of else {}
    record = tracking.RunRecord("eggan/x/s0", tags or tracking.describe_machine("cpu"), state="finished")
    folder.mkdir(parents=True)
    write_json(values, folder / "cell.json")
    write_json(dataclasses.asdict(record), folder / "run.json")


def test_cells_that_trained_on_more_images_say_how_fast_the_method_is(tmp_path):
    bench = dataclasses.replace(make_bench(tmp_path), methods=METHODS)
    longer = dataclasses.replace(ROW.training, images=10 * ROW.training.images)
    finished_cell(bench, "a" * 20, 50.0, training=longer)
    finished_cell(bench, "b" * 20, 30.0, training=longer, rec_warm_steps=7)
    measure(bench.runs, "20261126-100000", 99.0)
    cost = expected_cost(ROW, bench)
    assert cost.minutes == pytest.approx(ROW.training.images / 40 / 60 + SCORING_MINUTES)
    assert cost.source == "2 finished eggan cells"


def test_cells_of_another_machine_and_of_other_networks_say_nothing_of_this_speed(tmp_path):
    bench = dataclasses.replace(make_bench(tmp_path), methods=METHODS)
    longer = dataclasses.replace(ROW.training, images=10 * ROW.training.images)
    elsewhere = {**tracking.describe_machine("cpu"), "machine.accelerator": "H100"}
    finished_cell(bench, "a" * 20, 5000.0, elsewhere, longer)
    finished_cell(bench, "b" * 20, 1.0, training=longer, weight_ssim=0.0)
    finished_cell(bench, "c" * 20, 1.0, training=dataclasses.replace(longer, autocast="off"))
    finished_cell(bench, "f" * 20, 1.0, training=dataclasses.replace(longer, batch_size=4))
    for name, values in (("d", {}), ("e", {"spec": {"method": "eggan"}})):  # failed, and of an older version
        bench.cell_folder(name * 20).mkdir()
        trained = {"state": "failed", TRAINED: {"cost/images_per_second": 1.0}}
        write_json(trained | values, bench.cell_folder(name * 20) / "cell.json")
    assert expected_cost(ROW, bench).source == "a guess"


def test_dry_runs_of_suites_and_studies_say_what_they_know_it_from(eggan, tmp_path):
    places = ("--runs", tmp_path / "runs", "--data", tmp_path / "data", "--device", "cpu")
    measure(tmp_path / "runs", "20261126-100000", 50.0)
    _, suite, _ = eggan("bench", "run", "quick", "--dry-run", *places)
    (line,) = [line for line in suite.splitlines() if line.startswith("eggan/")]
    assert re.search(r" 3\.2 +bench speed of 20", line)  # 8,000 images and the scoring
    (line,) = [line for line in suite.splitlines() if line.startswith("oracle/")]
    assert line.endswith(" 0.5      a guess")
    _, study, _ = eggan("study", "run", "loss-weights", "--dry-run", "--images", 24_000, *places)
    assert "(8.0 min for a whole trial: bench speed of 20" in study
