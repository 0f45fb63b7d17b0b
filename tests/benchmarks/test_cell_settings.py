"""`eggan bench status` of several cells of one name: which is the suite's own, and what the others are."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.running.cell_settings import PRESENT, notes_on_settings
from benchmarks.running.cells import CellStatus, write_status
from benchmarks.running.suite_run import plan_suite
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.equal_images import with_images
from benchmarks.suites.methods import all_methods
from benchmarks.suites.suite import CROWD, SUITES, TWIN, Suite, find_suite
from eggan.tracking.record import RunRecord, write_record

Spec = dict[str, Any]


def planned(suite: Suite) -> list[Spec]:
    """Return the specifications of a suite's cells as its run plans them, as `cell.json` has them."""
    data = SimpleNamespace(content_hash="d" * 64)
    opened = SimpleNamespace(
        suite=suite,
        bench=SimpleNamespace(methods=all_methods()),
        datasets={TWIN: data, "wide": data, CROWD: data},
        dataset_label=suite.dataset,
        scoring=SimpleNamespace(splits=[], instruments=SimpleNamespace(hashes={"a": "1"})),
        training_data=lambda row: data,
    )
    return [json.loads(json.dumps(dataclasses.asdict(plan.spec))) for plan in plan_suite(opened)]


def notes(specs: list[Spec]) -> set[str]:
    """Return what is said of cells that are no namesakes."""
    cells = [
        CellStatus(str(key), "finished", "", {"spec": s, "name": str(key)}) for key, s in enumerate(specs)
    ]
    return set(notes_on_settings(cells, Path("nowhere")).values())


@pytest.mark.parametrize("name", SUITES)
def test_every_cell_that_a_suite_plans_is_its_own_and_on_other_images_is_not(name):
    suite = find_suite(name)
    assert notes(planned(suite)) == {PRESENT}
    other = [spec for spec in planned(with_images(suite, 1_600)) if spec["training"]]
    if next(row for row in suite.rows if row.training).training.images:
        (note,) = notes(other)
        assert note.startswith("1,600 images, the suite has ")


def test_an_added_row_is_the_suites_own_in_each_of_its_presets():
    methods = all_methods()
    for text in ("eggan-tuned:quick", "eggan-tuned:cpu", "stargan:cpu", "eggan-w-unpaired:cpu"):
        suite = with_added_rows(find_suite("quick"), [text], methods)
        assert notes(planned(suite)[-1:]) == {PRESENT}


@pytest.fixture
def own() -> Spec:
    """The cell of EGGAN of the suite `standard`."""
    return next(spec for spec in planned(find_suite("standard")) if spec["method"] == "eggan")


def said_of(eggan, runs: Path, *changes: Callable[[Spec], object], own: Spec) -> list[str]:
    """Return what the status says of the settings of the suite's own cell, then of one after each change."""
    for number, change in enumerate((lambda spec: None, *changes)):
        spec, key = copy.deepcopy(own), f"key{number}"
        change(spec)
        folder = runs / "cells" / key
        write_record(RunRecord(key, {"kind": "cell"}, state="finished", started_ms=9 - number), folder)
        write_status(folder, "finished", spec=spec, name="eggan/synfacs-64/s0", seconds=60)
    status, out, _ = eggan("bench", "status", "--runs", runs)
    assert status == 0
    header, *lines = out.splitlines()
    begin, end = header.index("settings"), header.index("reason")
    said = {line[header.index("key") : begin].strip(): line[begin:end].strip() for line in lines}
    return [said[f"key{number}"] for number in range(len(changes) + 1)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec["training"].update(images=48_000), "48,000 images, the suite has 144,000"),
        (lambda spec: spec["training"].pop("images"), "former: training.images unset, now 144000"),
        (
            lambda spec: spec["protocol"].update(version=1, pairs=9, seed=1),
            "former: protocol.version 1, now 2; protocol.pairs 9, now 0; 1 more",
        ),
        (lambda spec: spec.update(method_version=0), "former: method version 0, now 1"),
        (lambda spec: spec["config"].update(weight_au=3.5), "former: method.weight_au 3.5, now 40.0"),
        (lambda spec: spec["config"].pop("weight_au"), "former: method.weight_au unset, now 40.0"),
        (lambda spec: spec["datasets"].update(twin="e"), "earlier: on other data"),
        (lambda spec: spec["instruments"].update(a="2"), "earlier: on other instruments"),
        (lambda spec: spec["pairs"].update(test="2"), "earlier: on other pairs"),
        (lambda spec: spec.update(method="gone"), "former: the suite has no such row now"),
        (lambda spec: spec.update(method="eggan-crowd"), "former: the row is called eggan now"),
    ],
)
def test_namesakes_are_told_apart(eggan, tmp_path, own, change, said):
    first, other = said_of(eggan, tmp_path, change, own=own)
    assert first == PRESENT
    assert other == said


def test_a_suite_of_before_and_cells_that_another_suite_has_now(eggan, tmp_path, own):
    (twins,) = (s for s in planned(find_suite("twin")) if (s["method"], s["seed"]) == ("eggan", 0))

    def former(spec: Spec) -> None:
        spec.update({**twins, "suite": "standard"})

    assert said_of(eggan, tmp_path, lambda spec: spec.update(suite="none"), former, own=own) == [
        PRESENT,
        "former: there is no such suite now",
        "of the suite twin now",
    ]


def test_cells_without_namesakes_are_read_without_what_suites_are(eggan, tmp_path, own, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.running.cell_settings.notes_on_settings", lambda *_: pytest.fail("loaded")
    )
    for seed in range(2):
        folder = tmp_path / "cells" / str(seed)
        write_status(folder, "failed", spec={**own, "seed": seed}, name=f"eggan/s{seed}", reason="why")
    for name in ("damaged", "torn"):
        (tmp_path / "cells" / name).mkdir()
        (tmp_path / "cells" / name / "cell.json").write_text("{")
    status, out, _ = eggan("bench", "status", "--runs", tmp_path)
    assert (status, "settings" in out, out.count("why"), out.count("corrupted")) == (0, False, 2, 2)
