"""What a metric is called, its unit, direction, digits and definition: the rows of `metrics.csv`, by key."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

UNREAD = "au/unread"  # key of the metric that has rows only where some edit was not read
COST, SELF_RECONSTRUCTION = "Cost", "Self-reconstruction"  # questions that have a table of their own


@dataclass(frozen=True)
class Metric:
    """One row of the summary.

    `key`: as tracked, without the split. `question`: the heading it stands under. `column`: where the metric
    is a mean over pairs (or over redrawn sources), the column that holds it. `recorded_only`: in the summary
    only where some run has it, or says why not.
    """

    key: str
    title: str
    question: str
    direction: Literal["min", "max", ""]
    digits: int
    definition: str
    unit: str = ""
    column: str = ""
    recorded_only: bool = False

    @property
    def pair_column(self) -> str:
        """The column of the pair table, empty where the metric is no mean over pairs."""
        return "" if self.question == SELF_RECONSTRUCTION else self.column

    @property
    def scale(self) -> float:
        """What a mean over pairs is multiplied by: 100 for a share that is shown in percent."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def heading(self) -> str:
        """Title with unit and arrow."""
        arrow = {"min": " ↓", "max": " ↑", "": ""}[self.direction]
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}{arrow}"


def _metric(row: dict[str, Any]) -> Metric:
    return Metric(**row | {"digits": int(row["digits"]), "recorded_only": row["recorded_only"] == "yes"})


with Path(__file__).with_name("metrics.csv").open(encoding="utf-8", newline="") as _file:
    METRICS: Mapping[str, Metric] = {row["key"]: _metric(row) for row in csv.DictReader(_file)}
