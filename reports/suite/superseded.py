"""Values that a later version of the protocol withdrew: they are never shown, and the reason stands in their
place.

Cells keep the protocol version that scored them; frames exported before it was recorded are of version 1.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:  # a frame is made without withdrawn values, by this module
    from reports.suite.frame import Frame

FIRST_VERSION = 1
RENDERED = "synfacs"  # every person of it has many images


@dataclass(frozen=True)
class Superseded:
    """One withdrawn metric: `metric` begins its key without the split, version `before` mended it.

    `pair_column` holds it per pair; `of_photographs` withdraws it on other datasets than SynFACS alone.
    """

    metric: str
    before: int
    why: str
    pair_column: str = ""
    of_photographs: bool = False

    @property
    def reason(self) -> str:
        """What stands where the value would."""
        return f"superseded: protocol version {self.before - 1} {self.why}"


SUPERSEDED = (
    Superseded("pixels/msssim", 2, "took mid-grey for black in MS-SSIM", pair_column="msssim"),
    Superseded("realism/kid", 2, "took the features of another Inception than KID's"),
    Superseded(
        "identity/real_accuracy", 2, "compared single photographs with themselves", of_photographs=True
    ),
)


def without_superseded(frame: "Frame") -> "Frame":
    """Return the frame without withdrawn values; `not_measured` says why, run by run."""
    metrics, pairs, reasons = frame.metrics, frame.pairs, [frame.not_measured]
    for rule in SUPERSEDED:
        runs = _cells(frame, rule)["run_id"]
        gone = metrics["run_id"].isin(runs) & _is_of(metrics["metric"], rule)
        reasons.append(metrics.loc[gone, ["run_id", "metric"]].assign(reason=rule.reason))
        metrics = metrics[~gone]
        if rule.pair_column in pairs:
            kept = ~pairs["run_id"].isin(runs)
            pairs = pairs.assign(**{rule.pair_column: pairs[rule.pair_column].where(kept)})
    not_measured = pd.concat([part for part in reasons if len(part)] or reasons[:1], ignore_index=True)
    return replace(frame, metrics=metrics.reset_index(drop=True), pairs=pairs, not_measured=not_measured)


def superseded_records(frame: "Frame") -> list[dict[str, Any]]:
    """Return what readers of a frame's files must know: each withdrawn metric that its runs had."""
    records = []
    for rule in SUPERSEDED:
        versions = sorted(set(_cells(frame, rule)["protocol_version"].tolist()))
        if versions and (frame.not_measured["reason"] == rule.reason).any():
            named = {"metric": rule.metric, "pair_column": rule.pair_column, "reason": rule.reason}
            records.append(named | {"protocol_versions": versions})
    return records


def _is_of(names: pd.Series, rule: Superseded) -> pd.Series:
    return names.str.partition("/")[2].str.startswith(rule.metric)


def _cells(frame: "Frame", rule: Superseded) -> pd.DataFrame:
    """Return the finished cells whose values of a metric are withdrawn."""
    cells = frame.cells
    mine = (cells["state"] == "finished") & (cells["protocol_version"] < rule.before)
    return cells[mine & ~cells["dataset"].str.startswith(RENDERED)] if rule.of_photographs else cells[mine]
