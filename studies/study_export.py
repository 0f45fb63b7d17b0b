"""A study as reports read it: from its storage and folder, or from an exported folder without either.

The export holds `study.json`, `trials.json` (every trial as Optuna knows it), `trials.parquet` (the same as a
table), `reruns.parquet` and `rerun_pairs.parquet`. Names of machines, processes and addresses stay behind.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from eggan.errors import UserError, one_line
from eggan.files import (
    check_replaceable,
    read_json,
    read_whole_json,
    replaced_folder,
    restore_folder,
    write_json,
)
from eggan.options import command
from eggan.tables import read_table
from studies.reruns.rerun import KEYS, read_reruns
from studies.storage.liveness import OF_PROCESSES
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import RUN_ID
from studies.storage.trials import SCORES, trial_frame
from studies.study_config import SPEC_FILE, StudySpec, read_spec, write_spec

TRIALS_JSON, TRIALS = "trials.json", "trials.parquet"
RERUNS, RERUN_PAIRS = "reruns.parquet", "rerun_pairs.parquet"
FILES = (SPEC_FILE, TRIALS_JSON, TRIALS, RERUNS, RERUN_PAIRS)
RERUN_TEXT, RERUN_NUMBERS = ("state", "reason", "run_id"), (*KEYS, "seconds", *SCORES)


@dataclass(frozen=True)
class StudyData:
    """A study at rest. `listed`: its trials as plain values; `reruns`, `pairs`: as `read_reruns` says."""

    spec: StudySpec
    listed: list[dict[str, Any]]
    reruns: pd.DataFrame
    pairs: pd.DataFrame

    @cached_property
    def study(self) -> optuna.Study:
        """The trials as an Optuna study in memory."""
        study = optuna.create_study(directions=self.spec.study.directions)
        study.add_trials([_revived(values) for values in self.listed])
        return study

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trial frame, with `run_id`; trials that were repeated under another number are left out."""
        frame = trial_frame(self.study)
        links = [trial.user_attrs.get(RUN_ID, {}).get("run_id", "") for trial in self.study.trials]
        frame = frame.assign(run_id=links)
        return frame[~frame["number"].isin(set(frame["retry_of"].dropna()))].reset_index(drop=True)


def read_study(folder: Path, storage: str | None = None) -> StudyData:
    """Return the study in `runs/studies/NAME` as it is now."""
    study = open_study(folder, storage)
    reruns, pairs = read_reruns(folder)
    return StudyData(read_spec(folder), [_plain(trial) for trial in study.trials], reruns, pairs)


def _plain(trial: FrozenTrial) -> dict[str, Any]:
    attrs = {name: value for name, value in trial.user_attrs.items() if name not in OF_PROCESSES}
    if RUN_ID in attrs:
        attrs[RUN_ID] = {"run_id": attrs[RUN_ID]["run_id"]}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "started": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "ended": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        "params": trial.params,
        "distributions": {n: json.loads(distribution_to_json(d)) for n, d in trial.distributions.items()},
        "user_attrs": attrs,
        "system_attrs": trial.system_attrs,
        "intermediate": sorted(trial.intermediate_values.items()),
    }


def _revived(values: dict[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=values["number"],
        state=TrialState[values["state"]],
        value=None,
        values=values["values"],
        datetime_start=_time(values["started"]),
        datetime_complete=_time(values["ended"]),
        params=values["params"],
        distributions={n: json_to_distribution(json.dumps(d)) for n, d in values["distributions"].items()},
        user_attrs=values["user_attrs"],
        system_attrs=values["system_attrs"],
        intermediate_values={int(step): value for step, value in values["intermediate"]},
        trial_id=values["number"],
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def check_export_folder(folder: Path) -> None:
    """Raise a `UserError` where an export cannot be written, or would take the place of other files."""
    check_replaceable(folder, FILES, _is_earlier, "an exported study: choose another folder")


def write_frame(data: StudyData, folder: Path) -> Path:
    """Write the export; one that is there is replaced, another folder's content is a `UserError`."""
    check_export_folder(folder)
    tables = {TRIALS: data.trials, RERUNS: data.reruns, RERUN_PAIRS: data.pairs}
    with replaced_folder(folder, FILES) as staging:
        write_spec(replace(data.spec, storage=""), staging)
        write_json(data.listed, staging / TRIALS_JSON)
        for name, frame in tables.items():
            frame.reset_index(drop=True).to_parquet(staging / name)
    return folder


def _is_earlier(folder: Path) -> bool:
    """Return whether a folder holds what an export writes, as far as its two JSON files tell."""
    try:
        read_spec(folder)
    except UserError:
        return False
    return isinstance(read_whole_json(folder / TRIALS_JSON), list)


def read_frame(folder: Path) -> StudyData:
    """Return the study that `write_frame` exported; a missing or broken file is a `UserError`."""
    restore_folder(folder)
    if not all((folder / name).is_file() for name in (SPEC_FILE, TRIALS_JSON)):
        raise UserError(
            f"{folder} holds no exported study: `{command('study export NAME FOLDER')}` writes one"
        )
    try:
        listed = read_json(folder / TRIALS_JSON)
        wanted = (*RERUN_TEXT, *RERUN_NUMBERS)
        reruns = read_table(folder / RERUNS, RERUN_TEXT, RERUN_NUMBERS, required=wanted)
        pairs = read_table(folder / RERUN_PAIRS, numbers=KEYS, required=KEYS)
        data = StudyData(read_spec(folder), listed, reruns, pairs)
        _ = data.trials
    except UserError:
        raise
    except Exception as error:  # on damaged files Optuna, pandas and pyarrow raise anything
        raise UserError(f"{folder} is not a whole export: write it again ({one_line(error)})") from None
    return data
