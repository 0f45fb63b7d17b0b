"""From probes to figures: per AU and per portrait, real pairs, and the targets that edits have to reach."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.evaluation.identity_distance import distance_of

LARGEST_DISTANCE = 0.35  # of source and edit, at the 95th percentile
LEAST_RIGHT = 95.0  # percent of readable probes in which the asked AU moves the asked way
HIGH = 95


@dataclass(frozen=True)
class Target:
    """One sentence on what has to be reached; `reached` is None where it could not be measured."""

    text: str
    reached: bool | None

    @property
    def word(self) -> str:
        """`reached`, `missed` or `not measured`."""
        return {True: "reached", False: "missed", None: "not measured"}[self.reached]


def responses(probes: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each portrait and AU: portrait, kind, au, slope, change, off_target.

    `slope`: of the reading over what was asked; `change`: of the reading from the lowest to the highest
    level; `off_target`: mean absolute change of the other AUs that are read. NaN where a face was lost or the
    reader does not read the AU.
    """
    rows = []
    for (portrait, kind, au), group in probes.groupby(["portrait", "kind", "au"], sort=False):
        ordered = group.sort_values("asked")
        readings = ordered[list(AU_COLUMNS)].to_numpy(float)
        position = AU_NUMBERS.index(int(str(au)))
        change = readings[-1] - readings[0]
        others = np.delete(np.abs(change), position)
        others = others[np.isfinite(others)]
        own, asked = readings[:, position], ordered["asked"].to_numpy(float)
        rows.append(
            {
                "portrait": portrait,
                "kind": kind,
                "au": au,
                "slope": float(np.polyfit(asked, own, 1)[0]) if np.isfinite(own).all() else np.nan,
                "change": float(change[position]),
                "off_target": float(others.mean()) if len(others) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def of_photographs(probes: pd.DataFrame) -> pd.DataFrame:
    """Return the probes of photographs; all where there are renders alone."""
    photographs = probes[probes["kind"] == "photograph"]
    return photographs if len(photographs) else probes


def by_action_unit(probes: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return the figures of photographs by AU, then over all AUs: of photographs, renders, true edits.

    Columns: label, those of `figures`, true_slope (of true edits of renders; NaN where none were drawn).
    """
    of_au = summarise(of_photographs(probes), "au")
    true: dict[Any, Any] = dict.fromkeys(AU_NUMBERS, np.nan)
    if len(truth):
        true |= summarise(truth, "au").set_index("au")["slope"].to_dict()
    rows: list[dict[Any, Any]] = [
        {"label": f"AU{row['au']}", "true_slope": true[row["au"]]} | row for row in of_au.to_dict("records")
    ]
    kinds = {
        "photographs": probes[probes["kind"] == "photograph"],
        "renders": probes[probes["kind"] == "render"],
    }
    rows += [{"label": f"all, {name}", **figures(part)} for name, part in kinds.items() if len(part)]
    if len(truth):  # how long it takes to draw one is no edit's time
        rows.append({"label": "all, true edits of renders", **figures(truth), "edit_ms": np.nan})
    return pd.DataFrame(rows)


def summarise(probes: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the figures by `au` or by `portrait`, in the order in which they were probed.

    Columns: slope, slope_sd, off_target, right (percent), detected (percent), distance, distance_high (95th
    percentile), edit_ms (median), probes.
    """
    keys = dict.fromkeys(probes[by])
    return pd.DataFrame([{by: key, **figures(probes[probes[by] == key])} for key in keys])


def figures(probes: pd.DataFrame) -> dict[str, float]:
    """Return the figures of some probes, at least one: see `summarise`."""
    moved = responses(probes)
    change, distance = moved["change"].dropna(), probes["distance"].dropna()
    slope = moved["slope"].dropna()
    return {
        "slope": _mean(slope),
        "slope_sd": float(slope.std()) if len(slope) > 1 else np.nan,
        "off_target": _mean(moved["off_target"].dropna()),
        "right": 100 * _mean(change > 0),
        "detected": 100 * float(probes["detected"].mean()),
        "distance": float(distance.median()) if len(distance) else np.nan,
        "distance_high": float(np.percentile(distance, HIGH)) if len(distance) else np.nan,
        "edit_ms": 1000 * float(probes["seconds"].median()),
        "probes": float(len(probes)),
    }


def real_pairs(descriptors: Mapping[str, np.ndarray], people: Mapping[str, str]) -> pd.DataFrame:
    """Return one, other, same_person, distance for all pairs of pictures of known people, by their names."""
    known = [name for name in descriptors if people[name]]
    rows = [
        {
            "one": one,
            "other": other,
            "same_person": people[one] == people[other],
            "distance": distance_of(descriptors[one], descriptors[other]),
        }
        for one, other in itertools.combinations(known, 2)
    ]
    return pd.DataFrame(rows, columns=["one", "other", "same_person", "distance"])


def targets_of(probes: pd.DataFrame) -> list[Target]:
    """Return what photographs reached: faces still found, identities kept, AUs moved the asked way."""
    probes = of_photographs(probes)
    all_of_them = figures(probes)
    lost = int((~probes["detected"]).sum())
    high, right = all_of_them["distance_high"], all_of_them["right"]
    found = f"every face is still found: {len(probes) - lost} of {len(probes)} edits"
    kept = f"identity distance at the 95th percentile at most {LARGEST_DISTANCE}: "
    moved = f"the asked AU moves the asked way in at least {LEAST_RIGHT:g} %: "
    return [
        Target(found, lost == 0),
        Target(f"{kept}{high:.3f}" if np.isfinite(high) else f"{kept}no figure", _at_most(high)),
        Target(
            f"{moved}{right:.1f} %" if np.isfinite(right) else f"{moved}no figure",
            right >= LEAST_RIGHT if np.isfinite(right) else None,
        ),
    ]


def readable(probes: pd.DataFrame) -> list[int]:
    """Return the AUs of which the reader read at least one face."""
    read = probes[list(AU_COLUMNS)].notna().any()
    return [number for number, column in zip(AU_NUMBERS, AU_COLUMNS, strict=True) if read[column]]


def _at_most(high: float) -> bool | None:
    return high <= LARGEST_DISTANCE if np.isfinite(high) else None


def _mean(values: pd.Series | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
