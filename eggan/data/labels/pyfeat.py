"""py-feat's output: a second opinion, never the instrument.

py-feat's AU detectors (xgb, svm) give the probability that an AU is present, between 0 and 1. A probability
is no intensity: a certain, faint smile reads 1. So a py-feat file is refused as labels and as the reader of
Table 1, and compared instead, AU by AU, with a table of intensities.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.data.labels.csv_rows import CsvRow, read_rows
from eggan.data.labels.table import FRAME, LabelTable, key_of
from eggan.errors import UserError

REFUSED = "py-feat gives probabilities that an AU is present, not intensities: it cannot label or score"
PRESENT = 1.0  # FACS level A, the faintest trace: the intensity from which an AU counts as present


def is_pyfeat(header: list[str]) -> bool:
    """Return whether a header is py-feat's: AUs without a suffix beside its face box."""
    return "FaceScore" in header and any(f"AU{number:02d}" in header for number in AU_NUMBERS)


def read_probabilities(path: Path) -> pd.DataFrame:
    """Return probabilities by key, columns au01 .. for the AUs that py-feat has; rows with NaN are left out.

    An image with several faces has several rows in py-feat's file; it is left out too. An input with rows of
    several frames is a video: keys are then "key#frame".
    """
    header, rows = read_rows(Path(path))
    if not is_pyfeat(header) or "input" not in header:
        raise UserError(f"{path} is not py-feat's output (columns FaceScore, AU01, .., input)")
    there = {f"au{number:02d}": f"AU{number:02d}" for number in AU_NUMBERS if f"AU{number:02d}" in header}
    keys = _keys(rows)
    seen = Counter(keys)
    found = {}
    for key, row in zip(keys, rows, strict=True):
        texts = [row[name] for name in there.values()]
        if seen[key] == 1 and all(text.lower() not in ("", "nan") for text in texts):
            found[key] = [row.number(name) for name in there.values()]
    frame = pd.DataFrame.from_dict(found, orient="index", columns=list(there))
    outside = (frame < 0) | (frame > 1)
    if outside.to_numpy().any():
        raise UserError(f"{path} has AU values outside [0, 1]: these are not probabilities")
    return frame


def _keys(rows: list[CsvRow]) -> list[str]:
    frames: dict[str, set[str]] = {}
    for row in rows:
        frames.setdefault(row["input"], set()).add(row.get("frame", ""))
    return [
        key_of(row["input"]) + (f"{FRAME}{row['frame']}" if len(frames[row["input"]]) > 1 else "")
        for row in rows
    ]


def second_opinion(labels: LabelTable, probabilities: pd.DataFrame) -> pd.DataFrame:
    """Return, per AU, how well probabilities rank present above absent: columns au, auc, present, n.

    Present is an intensity of at least 1 in `labels`. AUC is NaN where all or none of n images are present.
    """
    from sklearn.metrics import roc_auc_score  # suites import this module, and need no scikit-learn

    read = labels.table[labels.table["problem"] == ""]
    matched = [(key, labels.match(key)) for key in probabilities.index]
    pairs = [(ours, theirs) for ours, theirs in matched if theirs in read.index]
    if not pairs:
        raise UserError("the two tables have no image in common")
    rows = []
    for column in [name for name in AU_COLUMNS if name in probabilities]:
        present = read.loc[[theirs for _, theirs in pairs], column].to_numpy(float) >= PRESENT
        score = probabilities.loc[[ours for ours, _ in pairs], column].to_numpy(float)
        mixed = 0 < present.sum() < len(present)
        auc = float(roc_auc_score(present, score)) if mixed else np.nan
        rows.append({"au": column, "auc": auc, "present": int(present.sum()), "n": len(present)})
    return pd.DataFrame(rows)
