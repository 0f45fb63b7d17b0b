"""What a run left behind, as values that two runs can be compared by."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

import studies.worker  # noqa: F401
from eggan import files
from eggan.checkpoint import load_training_state

DRAWN = re.compile(r"[0-9a-f]{32}|m-[0-9a-f]{32}")  # names that MLflow draws
VOLATILE = ("seconds", "_ms", "peak_memory", "run_id", "started", "time", "pid", "beat", "owner", "commit")
UNCOUNTED = ("mlflow.db", "mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm")


def left_in(root: Path) -> set[str]:
    """Return the names of all files and folders, without what is drawn at random.

    A trial that repeats a dead one has a folder of its own, and takes over what the dead one had.
    """
    names = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    names = {name for name in names if not name.endswith(UNCOUNTED)}
    return {re.sub(r"trials/\d{4}", "trials/*", DRAWN.sub("*", name)) for name in names}


def steady(value: Any) -> Any:
    """Return plain values without durations, dates and random names."""
    if isinstance(value, dict):
        return {
            key: steady(item)
            for key, item in value.items()
            if not any(word in str(key) for word in VOLATILE) and not str(key).startswith("cost/")
        }
    return [steady(item) for item in value] if isinstance(value, list | tuple) else value


def bits(value: Any) -> Any:
    """Return nested values with tensors as hashes of their bytes."""
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(key): bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else value


def training_results(folder: Path) -> dict[str, Any]:
    """Return a training's weights, state, logged values and record, as plain values."""
    state = load_training_state(folder, "cpu")
    logged: dict[str, list[Any]] = {}
    for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        for metric, value in line["values"].items():
            if "seconds" not in metric and not metric.startswith(("cost/", "system/")):
                logged.setdefault(metric, []).append([line["step"], repr(value)])
    record = json.loads((folder / "run.json").read_text())
    return {
        "weights": files.hash_files([folder / "weights.safetensors"]),
        "state": steady(bits(state)) if state else None,
        "logged": logged,
        "record": [record["state"], record["reason"], steady(record["params"])],
    }


def folder_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below a folder."""
    return (
        {name: files.hash_files([folder / name]) for name in files.files_in(folder)}
        if folder.exists()
        else {}
    )


def store_results(runs: Path, experiment: str) -> list[Any]:
    """Return what an SQLite store holds: every run with its state, values, parameters and artifacts."""
    from eggan import tracking

    store = tracking.open_store(None, runs, experiment)
    found = []
    for run in store.client.search_runs([store.experiment_id]):
        metrics = {
            metric: [
                (point.step, repr(point.value))
                for point in store.client.get_metric_history(run.info.run_id, metric)
            ]
            for metric in run.data.metrics
            if "seconds" not in metric and not metric.startswith(("cost/", "system/"))
        }
        artifacts = sorted(
            path.relative_to(runs / "artifacts" / run.info.run_id).as_posix()
            for path in (runs / "artifacts" / run.info.run_id).rglob("*")
            if path.is_file()
        )
        tags = {key: run.data.tags.get(key) for key in ("state", "kind", "suite", "method", "seed", "reason")}
        found.append(
            [run.info.run_name, run.info.status, tags, steady(dict(run.data.params)), metrics, artifacts]
        )
    return sorted(json.loads(json.dumps(found)), key=json.dumps)


def difference(wanted: Any, got: Any, where: str = "") -> str:
    """Return the first place in which two nested values differ."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in sorted({*wanted, *got}, key=str):
            if wanted.get(key) != got.get(key):
                return difference(wanted.get(key), got.get(key), f"{where}/{key}")
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            if one != other:
                return difference(one, other, f"{where}/{index}")
    return f"{where} is {str(got)[:200]} instead of {str(wanted)[:200]}"


# --- the kinds of work
