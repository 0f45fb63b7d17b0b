"""The best and the worst edits of a split, chosen by rule: a report shows failures beside successes."""

import numpy as np
import pandas as pd

from benchmarks.scoring.pair_columns import au_matrix, row_means

COUNT = 3  # of different people, for each rule
RULES = ("least AU error", "largest AU error", "most alike", "least alike")


def extremes(
    frame: pd.DataFrame, sources: np.ndarray, edits: np.ndarray, truth: np.ndarray | None, split: str
) -> dict[str, np.ndarray]:
    """Return the pictures of the pairs that each of `RULES` chooses, R = 4 by K <= 3, and by what value.

    `frame`: the pair table (N rows), for its AUs as read by estimator a and its similarity. `sources`,
    `edits`, `truth`: uint8 (N, H, W, 3). A person is chosen once by a rule. Nothing where no edit was read.
    """
    error = row_means((au_matrix(frame, "a") - au_matrix(frame, "target")) ** 2)
    alike = frame["similarity"].to_numpy(np.float64, na_value=np.nan)
    people = frame["source_identity"].to_numpy()
    chosen = [_least(values, people) for values in (error, -error, -alike, alike)]
    count = min(map(len, chosen))
    if not count:
        return {}
    rows = np.array([own[:count] for own in chosen])
    values = np.stack([error[rows[0]], error[rows[1]], alike[rows[2]], alike[rows[3]]])
    pictures = {"source": sources[rows], "edit": edits[rows]} | (
        {} if truth is None else {"truth": truth[rows]}
    )
    arrays = {"rule": np.array(RULES), "value": values, "split": np.array([split]), **pictures}
    return {f"extreme_{name}": np.asarray(array) for name, array in arrays.items()}


def _least(values: np.ndarray, people: np.ndarray) -> list[int]:
    """Return the rows of the least values that are known, at most `COUNT`, each of another person."""
    found: dict[object, int] = {}
    for row in np.argsort(values, kind="stable"):
        if len(found) < COUNT and np.isfinite(values[row]):
            found.setdefault(people[row], int(row))
    return list(found.values())
