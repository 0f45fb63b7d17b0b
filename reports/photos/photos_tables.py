"""Tables of what edits do to photographs: by AU, by portrait, and real pairs beside them."""

import math
from typing import Any

import pandas as pd

from benchmarks.photos.photos_run import Measured
from benchmarks.photos.summary import LARGEST_DISTANCE, by_action_unit, of_photographs, summarise
from eggan.evaluation.identity_distance import SAME_PERSON
from reports.style.text_table import TextTable

# column of `summarise` -> heading, digits
COLUMNS = {
    "slope": ("slope", 2),
    "slope_sd": ("SD of it", 2),
    "off_target": ("off target", 2),
    "right": ("right way, %", 1),
    "detected": ("still found, %", 1),
    "distance": ("distance, median", 3),
    "distance_high": ("distance, 95th pct", 3),
    "edit_ms": ("edit, ms", 0),
}
EXPLAINED = (
    "Slope: of what the landmark reader reads over what was asked, 1 is exact; off target: mean absolute "
    "change of the other AUs that it reads, in intensities of 0 to 5, from the lowest to the highest level; "
    "right way: probes in which the asked AU is read higher at the highest level than at the lowest. A dash: "
    "not measured."
)


def by_au(measured: Measured) -> TextTable:
    """Return a row for each AU, then one for all."""
    rows = [
        (str(row["label"]), *_cells(row), _number(row["true_slope"], 2))
        for row in by_action_unit(measured.probes, measured.truth).to_dict("records")
    ]
    caption = f"{EXPLAINED} SD: over portraits. True edits: renders drawn with the asked AUs, read alike."
    header = ("AU", *(title for title, _ in COLUMNS.values()), "slope of true edits")
    return TextTable("by-au", "By action unit, of photographs", caption, header, tuple(rows))


def by_portrait(measured: Measured) -> TextTable:
    """Return a row for each portrait."""
    about = {entry["name"]: entry for entry in measured.card["portraits"]}
    rows = []
    for row in summarise(measured.probes, "portrait").to_dict("records"):
        entry = about[row["portrait"]]
        size = f"{entry['width']} x {entry['height']}"
        rows.append((str(row["portrait"]), size, f"{entry['eye_distance']:.0f}", *_cells(row)))
    header = ("portrait", "pixels", "eyes apart, px", *(title for title, _ in COLUMNS.values()))
    caption = f"{EXPLAINED} SD: over AUs."
    return TextTable("by-portrait", "By portrait", caption, header, tuple(rows))


def real_pairs(measured: Measured) -> TextTable | None:
    """Return how far real photographs are from each other; None where nobody says who is who."""
    rows = []
    for same, title in ((True, "two pictures of one person"), (False, "two people")):
        pairs = measured.pairs.loc[measured.pairs["same_person"].astype(bool) == same, "distance"]
        if len(pairs):
            rows.append((title, str(len(pairs)), *_spread(pairs)))
    if not rows:
        return None
    edits = of_photographs(measured.probes)["distance"]
    rows.append(("source and edit", str(edits.count()), *_spread(edits)))
    caption = (
        f"Distance of dlib's face descriptors; its authors call two faces below {SAME_PERSON} one person. "
        f"The target for edits is {LARGEST_DISTANCE} at the 95th percentile."
    )
    header = ("pictures", "pairs", "least", "median", "95th pct", "most")
    return TextTable("real-pairs", "Identity beside real pairs", caption, header, tuple(rows))


def not_measured(measured: Measured) -> TextTable | None:
    """Return the files that were not edited, and why."""
    entries = measured.card["not_measured"]
    rows = tuple((entry["name"], entry["reason"]) for entry in entries)
    caption = "Files of the folder that no edit was made of."
    return TextTable("not-measured", "Not measured", caption, ("file", "reason"), rows) if rows else None


def _cells(row: dict[Any, Any]) -> list[str]:
    return [_number(row[name], digits) for name, (_, digits) in COLUMNS.items()]


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _spread(values: pd.Series) -> list[str]:
    known = values.dropna()
    return [_number(float(known.quantile(part)), 3) for part in (0, 0.5, 0.95, 1)]
