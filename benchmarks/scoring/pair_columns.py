"""AU columns of the table of pairs, for scores and for reports; read without torch."""

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS


def au_matrix(pairs: pd.DataFrame, prefix: str) -> np.ndarray:
    """Return the AU columns `prefix_au01` .. `prefix_au45` as float64 (n, 17)."""
    return pairs[[f"{prefix}_{column}" for column in AU_COLUMNS]].to_numpy(np.float64)


def read_mask(pairs: pd.DataFrame, reading: str = "a") -> np.ndarray:
    """Return of which pairs an AU instrument (`a`, `b`) could read edit and source: bool (n,).

    OpenFace finds not every face.
    """
    return ~np.isnan(au_matrix(pairs, reading) + au_matrix(pairs, "source_a")).any(axis=1)
