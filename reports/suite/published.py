"""The paper's own numbers (`published.csv`), for display beside ours and never as ours.

They were measured on RaFD at 128 px with OpenFace (Table 1: `mse`, `pcc`) and LightCNN (Table 2: `accuracy`,
in percent). Other faces and other instruments mean that a difference between these and our figures says
nothing about either implementation.
"""

from pathlib import Path
from typing import Any, Literal

import pandas as pd

from eggan.aus import AU_COUNT, AU_NUMBERS

SOURCE = "Tang et al., RaFD at 128 px, AUs read by OpenFace, identity by LightCNN"
METHODS: tuple[str, ...] = ("homointerpgan", "stargan", "eggan")  # the paper's row order
_FILE = Path(__file__).with_name("published.csv")
_ROWS: dict[Any, list[float]] = pd.read_csv(_FILE, index_col=["table", "method"]).T.to_dict("list")


def table1(metric: str, method: str) -> tuple[float, ...]:
    """Return a row of Table 1 (`mse`, `pcc`): 17 values in AU order, and their mean as printed."""
    return tuple(_ROWS[metric, method])


def table2(method: str) -> float:
    """Return the accuracy of Table 2 in percent; `real` is that of real pairs."""
    return _ROWS["accuracy", method][-1]


def aus_where_worse(
    metric: Literal["mse", "pcc"], method: str = "eggan", rival: str = "homointerpgan"
) -> tuple[int, ...]:
    """Return the AU numbers on which `method`'s published row is strictly worse than `rival`'s (Table 1)."""
    sign = 1 if metric == "mse" else -1
    mine, theirs = (table1(metric, name)[:AU_COUNT] for name in (method, rival))
    return tuple(au for au, a, b in zip(AU_NUMBERS, mine, theirs, strict=True) if sign * a > sign * b)


def reading_note() -> str:
    """Say what the published averages hide; counted from the rows, not quoted."""
    pcc, mse = aus_where_worse("pcc"), aus_where_worse("mse")
    return (
        f"Published rows, counted AU by AU: EGGAN's PCC is below HomoInterpGAN's on {len(pcc)} of 17 AUs "
        f"({', '.join(map(str, pcc))}) and its MSE is above on {len(mse)} ({', '.join(map(str, mse))}). The "
        "averages hide this. The rows of AU23 and AU45 carry almost no information (MSE of 0.02 or less for "
        "every method)."
    )
