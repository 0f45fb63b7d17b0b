"""AU columns of the table of pairs, for scores and for reports; read without torch."""

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, EXPRESSIONS


def au_matrix(pairs: pd.DataFrame, prefix: str) -> np.ndarray:
    """Return the AU columns `prefix_au01` .. `prefix_au45` as float64 (n, 17)."""
    return np.column_stack([pairs[f"{prefix}_{column}"].to_numpy(np.float64) for column in AU_COLUMNS])


def target_poses(pairs: pd.DataFrame) -> np.ndarray:
    """Return what is independent among the targets, a text for each pair (n,): who shows which expression.

    Pictures of it in several gazes, or frames of one video, have nearly the same AUs: resampled one by one
    they would count as evidence of their own. Where no expression is named each picture counts.
    """
    named = pairs["target_expression"].isin(EXPRESSIONS)
    pose = pairs["target_identity"].astype(str) + " " + pairs["target_expression"].astype(str)
    return pose.where(named, pairs["target_row"].astype(str)).to_numpy()


def read_mask(pairs: pd.DataFrame, reading: str = "a") -> np.ndarray:
    """Return of which pairs an AU instrument (`a`, `b`, `landmarks`) could read edit and source: bool (n,).

    Not every face is found.
    """
    return fully_read(au_matrix(pairs, reading) + au_matrix(pairs, "source_a"))


def fully_read(readings: np.ndarray) -> np.ndarray:
    """Return in which rows (n, A) every AU has a value, of those that have one anywhere: bool (n,).

    The landmark reader never reads some AUs; that leaves no face unread.
    """
    missing = np.isnan(readings)
    never = missing.all(axis=0)
    return ~missing[:, ~never].any(axis=1) if not never.all() else np.zeros(len(readings), dtype=bool)


def has_reading(pairs: pd.DataFrame, reading: str) -> bool:
    """Return whether an instrument read any pair; runs of before have no `landmarks`."""
    return f"{reading}_{AU_COLUMNS[0]}" in pairs and bool(read_mask(pairs, reading).any())


def row_means(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row over what is not NaN, (n,) of (n, A); NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis=1), np.nan) / np.maximum(count, 1)
