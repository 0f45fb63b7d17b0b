"""Who read what: the instruments that scored a dataset's runs, by name, as tables and captions say them.

The cards lie beside the scores of each run; a run older than them is known by the hashes in its parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

SHIPPED = {
    "au_a": "estimator A",
    "au_b": "estimator B",
    "au_landmarks": "the landmark reader",
    "verifier": "the verifier",
}
ROLES = {
    "a": "AU instrument",
    "b": "Second AU instrument",
    "landmarks": "Third AU instrument",
    "verifier": "Face verifier",
}
DECIDING = ("a", "b", "verifier")  # roles that a run names in its parameters
RENDERED = "synfacs"
Cards = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Readers:
    """Names of the scorers by role; `sets` counts the different sets of instruments among the runs."""

    a: str = "estimator A"
    b: str = "estimator B"
    verifier: str = "the verifier"
    sets: int = 1

    @property
    def first(self) -> str:
        """The AU instrument's name at the start of a sentence."""
        return self.a[:1].upper() + self.a[1:]


def readers_of(cells: pd.DataFrame, cards: Cards, dataset: str) -> Readers:
    """Return who scored the finished runs of a dataset; of several sets the one used last."""
    mine = cells[(cells["dataset"] == dataset) & (cells["state"] == "finished")]
    recorded = mine.sort_values("started_ms")["instruments"].fillna("").astype(str)
    recorded = recorded[recorded != ""]
    if not len(recorded):
        return Readers()
    by_hash = {str(card.get("sha256", "")): card for card in cards.values()}
    names = {
        role: _name(by_hash[digest], dataset)
        for role, digest in _hashes(str(recorded.iloc[-1])).items()
        if digest in by_hash
    }
    return Readers(**names, sets=recorded.nunique())


def _hashes(recorded: str) -> dict[str, str]:
    """Read the column `instruments` of a frame's cells, "a HASH; b HASH; verifier HASH"."""
    pairs = (part.strip().split(" ", 1) for part in recorded.split(";"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] in DECIDING}


def _name(card: Mapping[str, Any], dataset: str) -> str:
    name = str(card.get("name", ""))
    if name not in SHIPPED:
        return str(card.get("title", name))
    learnt = "" if dataset.startswith(RENDERED) else " (learnt from renderings)"
    return SHIPPED[name] + learnt


def all_cards(shipped: Cards, recorded: list[Cards]) -> dict[str, Mapping[str, Any]]:
    """Return the cards of a report by title: those that runs recorded, and the shipped ones that go with it.

    `recorded`: per run, cards by role. A shipped card that no run used is left out once every run has
    recorded what it used.
    """
    used = {str(card["sha256"]): (role, card) for cards in recorded for role, card in cards.items()}
    all_recorded = bool(recorded) and all(recorded)
    kept = {
        title: card
        for title, card in shipped.items()
        if not all_recorded or card.get("sha256") in used or "missing" in card
    }
    known = {str(card.get("sha256", "")) for card in kept.values()}
    for digest, (role, card) in used.items():
        if digest not in known:
            kept[f"{ROLES[role]}: {card.get('title', card.get('name', digest[:12]))}"] = card
    return kept
