"""The 17 action units (AUs) of the paper and the 8 RaFD expressions: names, order, range (Sec. 4.1)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eggan.errors import UserError

if TYPE_CHECKING:  # help lists the AUs, and does not wait for it
    import numpy as np

AU_NUMBERS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
AU_NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
    45: "blink",
}
# What FACS calls upper and lower face AUs; 9 wrinkles the nose and takes brows and lip along
UPPER_FACE: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 45)
LOWER_FACE: tuple[int, ...] = (10, 12, 14, 15, 17, 20, 23, 25, 26)
AU_COUNT = len(AU_NUMBERS)
AU_COLUMNS: tuple[str, ...] = tuple(f"au{number:02d}" for number in AU_NUMBERS)
MAX_INTENSITY = 5.0
LEVELS = 6  # intensities 0..5 rounded to the nearest integer (Eq. 3, m = 5)

EXPRESSIONS: tuple[str, ...] = (
    "neutral",
    "angry",
    "contemptuous",
    "disgusted",
    "fearful",
    "happy",
    "sad",
    "surprised",
)
# expression -> (AU, mean intensity, share of people who show it), after the RaFD manual's AU sets
PROTOTYPES: dict[str, tuple[tuple[int, float, float], ...]] = {
    "neutral": (),
    "angry": ((4, 4.0, 1.0), (5, 2.2, 0.6), (7, 3.0, 0.9), (9, 1.2, 0.2), (17, 2.2, 0.8), (23, 3.4, 1.0)),
    "contemptuous": ((14, 3.8, 1.0), (12, 1.0, 0.45), (17, 1.0, 0.2), (4, 0.8, 0.15)),
    "disgusted": (
        (4, 2.2, 0.7),
        (6, 1.2, 0.4),
        (7, 2.2, 0.7),
        (9, 4.0, 1.0),
        (10, 3.2, 0.95),
        (15, 1.8, 0.5),
        (17, 2.2, 0.6),
        (25, 2.2, 0.45),
        (45, 0.9, 0.35),
    ),
    "fearful": (
        (1, 3.8, 1.0),
        (2, 2.8, 0.9),
        (4, 2.4, 0.85),
        (5, 3.8, 1.0),
        (7, 1.4, 0.4),
        (20, 3.0, 0.95),
        (25, 3.0, 0.95),
        (26, 2.2, 0.7),
    ),
    "happy": (
        (6, 3.6, 0.95),
        (7, 1.0, 0.35),
        (12, 4.2, 1.0),
        (25, 3.6, 0.85),
        (26, 1.0, 0.3),
        (45, 0.7, 0.25),
    ),
    "sad": ((1, 3.6, 1.0), (4, 2.6, 0.85), (6, 0.9, 0.2), (15, 3.4, 1.0), (17, 2.6, 0.85), (45, 1.0, 0.5)),
    "surprised": ((1, 4.0, 1.0), (2, 4.0, 1.0), (5, 3.4, 0.95), (25, 4.0, 1.0), (26, 3.8, 1.0)),
}
SHOWN_BY_MOST = 0.5
GAZES: tuple[str, ...] = ("left", "frontal", "right")


def au_index(number: int) -> int:
    """Return the position of an AU number in an AU vector; unknown numbers are a `UserError`."""
    if number not in AU_NUMBERS:
        known = ", ".join(map(str, AU_NUMBERS))
        raise UserError(f"unknown AU {number}: this software edits AUs {known}")
    return AU_NUMBERS.index(number)


def expression_aus(name: str) -> "np.ndarray":
    """Return the AUs (17,) of an expression: those that most people show, at their mean intensity."""
    import numpy as np

    vector = np.zeros(AU_COUNT)
    for number, mean, share in PROTOTYPES[name]:
        if share > SHOWN_BY_MOST:
            vector[au_index(number)] = mean
    return vector


def check_au_vector(values: Iterable[float]) -> "np.ndarray":
    """Return `values` as a float32 AU vector (17,); wrong length, NaN or out of [0, 5] is a `UserError`."""
    import numpy as np

    vector = np.asarray(list(values), dtype=np.float32)
    if vector.shape != (AU_COUNT,):
        raise UserError(f"an AU vector has {AU_COUNT} values, not {vector.size}")
    if not np.isfinite(vector).all():
        raise UserError("an AU vector holds NaN or infinity")
    if (vector < 0).any() or (vector > MAX_INTENSITY).any():
        worst = int(np.abs(vector - MAX_INTENSITY / 2).argmax())
        raise UserError(
            f"AU{AU_NUMBERS[worst]} = {vector[worst]:g} is out of range: "
            f"intensities run from 0 to {MAX_INTENSITY:g}"
        )
    return vector


def parse_au(text: str) -> tuple[int, float]:
    """Parse `"12=4"` into (position of AU12, 4.0); anything else is a `UserError`."""
    number, _, value = text.partition("=")
    try:
        parsed_number, parsed_value = int(number.strip().upper().removeprefix("AU")), float(value)
    except ValueError:
        raise UserError(f"cannot read AU {text!r}: write NUMBER=INTENSITY, such as 12=4") from None
    if value.strip().startswith("+"):
        raise UserError(f"{text!r}: an intensity is what to show, not how much more: write it without +")
    position = au_index(parsed_number)
    if not 0 <= parsed_value <= MAX_INTENSITY:
        raise UserError(f"AU{parsed_number} = {parsed_value:g} is out of range: intensities run from 0 to 5")
    return position, parsed_value
