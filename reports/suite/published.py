"""The paper's own numbers (Tables 1 and 2), for display beside ours and never as ours.

They were measured on RaFD at 128 px with OpenFace (Table 1) and LightCNN (Table 2). Other faces and other
instruments mean that a difference between these and our figures says nothing about either implementation.
"""

from types import MappingProxyType
from typing import Literal

from eggan.aus import AU_NUMBERS

SOURCE = "Tang et al., RaFD at 128 px, AUs read by OpenFace, identity by LightCNN"

# Rows in AU order: 1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45 (Table 1).
# fmt: off
# ruff: noqa: E501 (one published row on one line)
TABLE1_MSE = MappingProxyType({
    "homointerpgan": (0.56, 0.86, 0.88, 1.68, 0.23, 1.26, 0.60, 0.08, 0.03, 0.11, 0.17, 0.08, 0.25, 0.01, 0.10, 0.13, 0.02),
    "stargan":       (0.85, 1.59, 0.66, 1.62, 0.43, 1.04, 0.59, 0.26, 0.77, 0.27, 0.21, 0.14, 0.30, 0.01, 1.09, 0.39, 0.00),
    "eggan":         (0.13, 0.13, 0.49, 0.35, 0.21, 0.49, 0.33, 0.14, 0.41, 0.16, 0.15, 0.18, 0.26, 0.01, 0.51, 0.14, 0.00),
})
TABLE1_PCC = MappingProxyType({
    "homointerpgan": (0.64, 0.68, 0.69, 0.35, 0.83, 0.41, 0.55, 0.83, 0.98, 0.76, 0.71, 0.78, 0.55, 0.32, 0.93, 0.79, 0.26),
    "stargan":       (0.34, 0.00, 0.64, 0.08, 0.24, 0.27, 0.34, 0.31, 0.33, 0.15, 0.40, 0.57, 0.48, 0.20, 0.45, 0.15, 0.19),
    "eggan":         (0.92, 0.95, 0.69, 0.85, 0.75, 0.72, 0.73, 0.70, 0.78, 0.65, 0.64, 0.33, 0.50, 0.22, 0.67, 0.76, 0.34),
})
# fmt: on
TABLE1_AVERAGE = MappingProxyType(
    {
        "mse": MappingProxyType({"homointerpgan": 0.41, "stargan": 0.60, "eggan": 0.24}),
        "pcc": MappingProxyType({"homointerpgan": 0.65, "stargan": 0.30, "eggan": 0.66}),
    }
)
TABLE1 = MappingProxyType({"mse": TABLE1_MSE, "pcc": TABLE1_PCC})
TABLE2_ACCURACY = MappingProxyType({"homointerpgan": 76.54, "stargan": 93.32, "eggan": 97.04})
TABLE2_REAL = 99.63
METHODS: tuple[str, ...] = ("homointerpgan", "stargan", "eggan")  # the paper's row order


def aus_where_worse(
    metric: Literal["mse", "pcc"], method: str = "eggan", rival: str = "homointerpgan"
) -> tuple[int, ...]:
    """Return the AU numbers on which `method`'s published row is strictly worse than `rival`'s (Table 1)."""
    rows = TABLE1[metric]
    sign = 1 if metric == "mse" else -1
    pairs = zip(AU_NUMBERS, rows[method], rows[rival], strict=True)
    return tuple(au for au, mine, theirs in pairs if sign * mine > sign * theirs)


def reading_note() -> str:
    """Say what the published averages hide; counted from the rows, not quoted."""
    pcc, mse = aus_where_worse("pcc"), aus_where_worse("mse")
    return (
        f"Published rows, counted AU by AU: EGGAN's PCC is below HomoInterpGAN's on {len(pcc)} of 17 AUs "
        f"({', '.join(map(str, pcc))}) and its MSE is above on {len(mse)} ({', '.join(map(str, mse))}). The "
        "averages "
        "hide this. The rows of AU23 and AU45 carry almost no information (MSE of 0.02 or less for every "
        "method)."
    )
