"""`eggan study best`: the trial that a study recommends, as text and as a config file of `eggan train`."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.running.bench_console import table
from eggan.errors import UserError
from eggan.files import write_text
from eggan.outputs import sealed
from studies import selection
from studies.study_export import StudyData

HEADLINE = (selection.SKILL, selection.ERROR, selection.ACCURACY)


def pick(data: StudyData, number: int | None) -> pd.Series:
    """Return the row of a trial: the one asked for, or the best (see `selection.ranked`)."""
    spec, frame = data.spec, data.trials
    picked = selection.best(spec.study, frame) if number is None else selection.chosen(frame, [number])[0]
    return selection.row_of(frame, picked)


def best_text(data: StudyData, row: pd.Series) -> str:
    """Return a trial with its scores and parameters, beside the paper's own where that was run."""
    shown = {f"trial {row['number']}": row}
    for name, number in selection.references(data.trials).items():
        if number != row["number"]:
            shown[f"{name} (trial {number})"] = selection.row_of(data.trials, number)
    rows = [[name, *(f"{line[name]:.4g}" for line in shown.values())] for name in HEADLINE]
    for name in data.spec.space.distributions:
        rows.append([name, *(f"{line[f'params_{name}']:.4g}" for line in shown.values())])
    return table(["", *shown], rows)


def config_text(data: StudyData, row: pd.Series, only_searched: bool) -> str:
    """Return a TOML file that `eggan train METHOD --config` takes.

    It holds the trial's whole method and training config, so that the preset does not matter; with
    `only_searched` no more than the fields that the study searched, to be laid over any preset.
    """
    spec, params = data.spec, data.study.trials[int(row["number"])].params
    searched = {parameter.field: params[parameter.name] for parameter in spec.space.parameters}
    scores = ", ".join(f"{name} {row[name]:.4f}" for name in HEADLINE)
    study = spec.study
    lines = [
        f"study {spec.name}, trial {row['number']}: {study.objective}, {study.images} images, "
        f"seeds {list(study.seeds)}",
        f"scores on validation identities: {scores}",
        f"searched over the preset {study.preset}: {', '.join(searched)}",
        f"use: eggan train {study.method} --dataset FOLDER --config THIS_FILE",
    ]
    text = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    if only_searched:
        return sealed(text + _table("method", searched))
    return sealed(text + _table("method", spec.method_config | searched) + _table("training", spec.training))


def _table(name: str, values: dict[str, Any]) -> str:
    return f"\n[{name}]\n" + "".join(f"{key} = {_value(key, value)}\n" for key, value in values.items())


def _value(key: str, value: Any) -> str:
    if value is None or isinstance(value, dict):
        raise UserError(f"{key} = {value!r} cannot be written as a TOML value: use --only-searched")
    return json.dumps(value)  # scalars and lists of scalars read the same in TOML


def write_config(text: str, path: Path) -> Path:
    """Write the file and return its path."""
    write_text(text, path)
    return path
