"""What the data of a report allow to be said, one sentence each."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "open"]
SIGNS = {"good": "+", "bad": "!", "open": "?"}


@dataclass(frozen=True)
class Finding:
    """One sentence with its tone: a claim that holds, one that does not, or one that stays open."""

    tone: Tone
    text: str

    @property
    def line(self) -> str:
        """The sentence as a terminal shows it, with a sign for its tone."""
        return f"{SIGNS[self.tone]} {self.text}"
