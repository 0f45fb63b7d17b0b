"""What an edit is asked for, by the options of `eggan edit` and `eggan interpolate`, and what a method reads.

Nothing that is asked for may be left unread, and nothing that a method reads may be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eggan.aus import EXPRESSIONS
from eggan.errors import UserError

# field of EditRequest -> the option that supplies it, with an example
OPTIONS = {
    "target_aus": ("--au", "--au 12=4"),
    "target_expression": ("--expression", "--expression happy"),
    "reference": ("--reference", "--reference OTHER.png, a face with the expression that is wanted"),
}
AU_FIELDS = {"source_aus", "target_aus"}  # what the options beside --au speak of
SUPPLIED = {"source", *AU_FIELDS, *OPTIONS}


@dataclass(frozen=True)
class Targets:
    """The target options as given; `beside` names the options on AUs beside `--au`, such as --keep."""

    aus: Sequence[str] = ()
    expression: str | None = None
    reference: Path | None = None
    beside: Sequence[str] = ()

    def check(self) -> None:
        """Raise a `UserError` where nothing is asked for, or an expression has an unknown name."""
        if not (self.aus or self.expression or self.reference):
            raise UserError(
                "say what to change with at least one --au, such as --au 12=4 (or with --expression or "
                "--reference, for methods that read these)"
            )
        if self.expression is not None and self.expression not in EXPRESSIONS:
            known = ", ".join(EXPRESSIONS)
            raise UserError(f"unknown expression {self.expression!r} (known: {known})")

    def check_read(self, method: str, reads: Sequence[str]) -> None:
        """Raise a `UserError` where `method` does not read what is given, or reads what is not."""
        given = {
            "target_aus": bool(self.aus),
            "target_expression": self.expression is not None,
            "reference": self.reference is not None,
        }
        takes = [OPTIONS[field] for field in OPTIONS if field in reads]
        wanted = " and ".join(example for _, example in takes)
        unread = [option for field, (option, _) in OPTIONS.items() if given[field] and field not in reads]
        if not AU_FIELDS & set(reads):
            unread += self.beside
        if unread:
            raise UserError(f"{method} does not read {unread[0]}: it takes {wanted}")
        if not all(given[field] for field in OPTIONS if field in reads):
            raise UserError(f"{method} takes {wanted}")

    @property
    def expression_index(self) -> int:
        """The expression as `EditRequest` has it: -1 for none."""
        return -1 if self.expression is None else EXPRESSIONS.index(self.expression)
