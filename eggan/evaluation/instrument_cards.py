"""The cards of the instruments: what describes a frozen scorer, read without loading it."""

from pathlib import Path
from typing import Any

from eggan.errors import UserError
from eggan.files import read_json

WEIGHTS = Path(__file__).parent / "weights"
CARD_VERSION = 1


def read_card(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Return the card of `au_a`, `au_b`, `au_landmarks` or `verifier`."""
    path = (folder or WEIGHTS) / f"{name}.json"
    try:
        card = read_json(path)
    except FileNotFoundError:
        raise missing_file(path) from None
    except ValueError as error:
        raise UserError(f"{path.name} is not a valid card: {error}") from None
    if not isinstance(card, dict):
        raise UserError(f"{path.name} is not a valid card: it holds {type(card).__name__}")
    if card.get("card_version") != CARD_VERSION:
        raise UserError(
            f"{path.name} has card version {card.get('card_version')}, this software reads {CARD_VERSION}"
        )
    return card


def missing_file(path: Path) -> UserError:
    """Return the error that says how an instrument's missing file is made."""
    return UserError(
        f"instrument file {path.name} is missing from {path.parent.name}/: run `eggan instruments train`"
    )
