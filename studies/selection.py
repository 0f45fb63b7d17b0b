"""Which trials of a study are good, and what `eggan study best` shows and writes of one.

Good are the best under the floor, the Pareto front and its knee.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.running.bench_console import table
from eggan.errors import UserError
from eggan.options import command
from eggan.outputs import sealed
from studies.study_config import ACCURACY, ERROR, PRINTED_SCORES, SKILL, StudyConfig
from studies.study_export import StudyData


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a trial frame that ran to their end."""
    return frame[frame["state"] == "complete"]


def pareto_front(frame: pd.DataFrame) -> list[int]:
    """Return the complete trials that none beats in both AU MSE and identity accuracy, by rising MSE."""
    done = complete(frame)
    points = done[[ERROR, ACCURACY]].to_numpy(np.float64) * (1, -1)
    beaten = [((points <= p).all(axis=1) & (points < p).any(axis=1)).any() for p in points]
    front = done[~np.array(beaten, dtype=bool)]
    return [int(number) for number in front.sort_values([ERROR, "number"])["number"]]


def ranked(study: StudyConfig, frame: pd.DataFrame) -> list[int]:
    """Return the trials that may be chosen, best first.

    One objective: those that keep the floor of identity accuracy, by AU skill. Two: those of the Pareto
    front, by distance to the point that has the front's least MSE and its highest accuracy, both scaled to
    the front's range; the first is its knee. Accuracy is an objective there and has no floor.
    """
    if study.has_floor:
        kept = complete(frame)
        kept = kept[kept["feasible"].astype(object) == True]  # noqa: E712  None: the floor was never read
        return [int(n) for n in kept.sort_values([SKILL, "number"], ascending=[False, True])["number"]]
    front = frame[frame["number"].isin(pareto_front(frame))]
    distance = np.hypot(_loss(-front[ERROR]), _loss(front[ACCURACY]))
    return [int(n) for n in front.assign(distance=distance).sort_values(["distance", "number"])["number"]]


def _loss(values: pd.Series) -> np.ndarray:
    """Return how far values fall behind the best, in parts of their range."""
    span = float(values.max() - values.min())
    return (values.max() - values).to_numpy(np.float64) / (span or 1.0)


def references(frame: pd.DataFrame) -> dict[str, int]:
    """Return the complete trials that others are compared with: "paper" and "preset" by name."""
    rows = complete(frame)
    rows = rows[rows["reference"] != ""]
    return {str(row["reference"]): int(row["number"]) for _, row in rows.iterrows()}


def best(study: StudyConfig, frame: pd.DataFrame) -> int:
    """Return the best trial; a `UserError` where there is none, or none keeps the floor."""
    order = ranked(study, frame)
    if order:
        return order[0]
    done = [int(number) for number in complete(frame)["number"]]
    if not done:
        raise UserError(
            f"the study has no complete trial yet: `{command('study status NAME')}` shows its trials"
        )
    raise UserError(
        f"no trial keeps the floor of {study.identity_floor:g} % identity accuracy: choose yourself "
        f"with --trial N, in `confirm` --trials N (complete: {', '.join(map(str, done))})"
    )


def chosen(frame: pd.DataFrame, numbers: Sequence[int]) -> list[int]:
    """Return `numbers` without repetition; one that is no complete trial is a `UserError`."""
    done = set(complete(frame)["number"])
    for number in numbers:
        if number not in done:
            raise UserError(
                f"trial {number} is not a complete trial: `{command('study status NAME')}` lists them"
            )
    return list(dict.fromkeys(numbers))


def row_of(frame: pd.DataFrame, number: int) -> pd.Series:
    """Return the row of a trial."""
    return frame[frame["number"] == number].iloc[0]


def pick(data: StudyData, number: int | None) -> pd.Series:
    """Return the row of a trial: the one asked for, or the best (see `ranked`)."""
    spec, frame = data.spec, data.trials
    return row_of(frame, best(spec.study, frame) if number is None else chosen(frame, [number])[0])


def best_text(data: StudyData, row: pd.Series) -> str:
    """Return a trial with its scores and parameters, beside the paper's own where that was run."""
    compared = {f"trial {row['number']}": row}
    for name, number in references(data.trials).items():
        if number != row["number"]:
            compared[f"{name} (trial {number})"] = row_of(data.trials, number)
    rows = [[name, *(f"{line[name]:.4g}" for line in compared.values())] for name in PRINTED_SCORES]
    for name in data.spec.space.distributions:
        rows.append([name, *(f"{line[f'params_{name}']:.4g}" for line in compared.values())])
    return table(["", *compared], rows)


def config_text(data: StudyData, row: pd.Series, only_searched: bool) -> str:
    """Return a TOML file that `eggan train METHOD --config` takes.

    It holds the trial's whole method and training config, so that the preset does not matter; with
    `only_searched` no more than the fields that the study searched, to be laid over any preset.
    """
    spec, params = data.spec, data.study.trials[int(row["number"])].params
    searched = {parameter.field: params[parameter.name] for parameter in spec.space.parameters}
    scores = ", ".join(f"{name} {row[name]:.4f}" for name in PRINTED_SCORES)
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
    """Return a table of TOML, and after it those of groups of settings within it."""
    groups = {key: value for key, value in values.items() if isinstance(value, dict)}
    own = "".join(f"{key} = {_value(key, value)}\n" for key, value in values.items() if key not in groups)
    return f"\n[{name}]\n{own}" + "".join(_table(f"{name}.{key}", its) for key, its in groups.items())


def _value(key: str, value: Any) -> str:
    if value is None:
        raise UserError(f"{key} = {value!r} cannot be written as a TOML value: use --only-searched")
    return json.dumps(value)  # scalars and lists of scalars read the same in TOML
