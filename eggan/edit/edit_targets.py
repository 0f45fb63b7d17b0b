"""What an edit is asked for, by the options of `eggan edit` and `eggan interpolate`, and what a method reads.

Nothing that is asked for may be left unread, and nothing that a method reads may be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eggan.aus import AU_COUNT, AU_NUMBERS, EXPRESSIONS, expression_aus, parse_au
from eggan.errors import UserError, known_names

# field of EditRequest -> an example of the option that supplies it
EXAMPLES = {
    "target_aus": "--au 12=4",
    "target_expression": "--expression happy",
    "reference": "--like OTHER.jpg, a face with the expression that is wanted",
}
AU_FIELDS = {"source_aus", "target_aus"}  # what the options on the source's AUs speak of
SUPPLIED = {"source", *AU_FIELDS, *EXAMPLES}


@dataclass(frozen=True)
class Targets:
    """The target options as given; a method that reads AUs takes an expression and a face as theirs."""

    aus: Sequence[str] = ()
    expression: str | None = None
    like: Path | None = None
    strength: float | None = None
    keep: bool = False
    source_aus: Sequence[str] = ()
    neutral: bool = False

    def check(self) -> None:
        """Raise a `UserError` where nothing is asked for, or something that contradicts itself."""
        if not (self.aus or self.expression or self.like):
            raise UserError(
                "say what to change with at least one --au, such as --au 12=4, with --expression or with "
                "--like"
            )
        if self.expression is not None and self.expression not in EXPRESSIONS:
            raise UserError(
                f"unknown expression {self.expression!r}{known_names(self.expression, EXPRESSIONS)}"
            )
        if self.expression and self.like:
            raise UserError("--expression and --like both name all AUs: give one of them")
        if self.strength is not None and not (self.expression or self.like):
            raise UserError("--strength is that of an --expression or of --like: --au has its own intensity")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise UserError(f"--strength is {self.strength:g}: it runs from 0 to 1")
        parse_aus(self.aus)
        parse_aus(self.source_aus)

    def check_read(self, method: str, reads: Sequence[str]) -> None:
        """Raise a `UserError` where `method` does not read what is given, or reads what is not."""
        examples = " and ".join(EXAMPLES[field] for field in EXAMPLES if field in reads)
        takes_aus = "target_aus" in reads
        reading = (
            ("--au", self.aus, takes_aus),
            ("--expression", self.expression, takes_aus or "target_expression" in reads),
            ("--like", self.like, takes_aus or "reference" in reads),
            ("--strength", self.strength is not None, takes_aus),
            ("--source-au", self.source_aus, AU_FIELDS & set(reads)),
            ("--neutral", self.neutral, AU_FIELDS & set(reads)),
            ("--keep", self.keep, takes_aus),
        )
        for option, given, read in reading:
            if given and not read:
                raise UserError(f"{method} does not read {option}: it takes {examples}")
        own_aus = self.aus or self.expression or ("reference" not in reads and self.like)
        lacking = (
            (takes_aus and not own_aus)
            or ("target_expression" in reads and not self.expression)
            or ("reference" in reads and not self.like)
        )
        if lacking:
            raise UserError(f"{method} takes {examples}")

    @property
    def files(self) -> list[Path]:
        """The photographs that these options name."""
        return [self.like] if self.like else []

    @property
    def expression_index(self) -> int:
        """The expression as `EditRequest` has it: -1 for none."""
        return -1 if self.expression is None else EXPRESSIONS.index(self.expression)

    def target_aus(self, shown: np.ndarray | None, like: np.ndarray | None) -> np.ndarray:
        """Return the AUs (17,) to edit to; where both readings are unknown they are NaN.

        `shown` (17,) is what the photograph shows, None where nothing asks for it, and `like` (17,) what the
        face of `--like` shows; NaN where that is not known. An AU that is not known of the other face stays
        as it is.
        """
        source = np.zeros(AU_COUNT) if shown is None else shown
        strength = 1.0 if self.strength is None else self.strength
        wanted = source.copy() if self.keep else np.zeros(AU_COUNT)
        if like is not None:
            other = np.where(np.isnan(like), source, like)
            start = np.nan_to_num(source)  # what does not show is taken for absent
            wanted = start + strength * (other - start)
        elif self.expression is not None:
            posed = strength * expression_aus(self.expression)
            # With --keep an expression names the AUs that it consists of; neutral is that of all.
            named = (posed > 0) | (not self.keep) | (self.expression == "neutral")
            wanted = np.where(named, posed, wanted)
        return au_vector(wanted, parse_aus(self.aus))

    @property
    def named_source(self) -> np.ndarray:
        """What the photograph shows (17,) by --source-au, all else being 0, or by --neutral."""
        return au_vector(np.zeros(AU_COUNT), parse_aus(self.source_aus))

    @property
    def reads_source(self) -> bool:
        """Whether the target depends on what the photograph shows."""
        return self.keep or self.like is not None


def parse_aus(texts: Sequence[str]) -> dict[int, float]:
    """Parse `["12=4", "6=3"]` into {position: intensity}; an AU that is named twice is a `UserError`."""
    found: dict[int, float] = {}
    for text in texts:
        position, intensity = parse_au(text)
        if position in found:
            raise UserError(f"AU{AU_NUMBERS[position]} is given twice")
        found[position] = intensity
    return found


def au_vector(base: np.ndarray, changes: dict[int, float]) -> np.ndarray:
    """Return a copy of `base` (17,) with some intensities replaced."""
    vector = np.array(base, dtype=np.float32)
    for position, intensity in changes.items():
        vector[position] = intensity
    return vector
