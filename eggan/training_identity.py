"""What makes two trainings the same one: only its own training goes on from a folder's training state."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eggan.checkpoint import CONFIG_FILE, ModelCard
from eggan.config import content_hash, to_dict
from eggan.errors import UserError

NAMED = 3  # settings that a refusal names


@dataclass(frozen=True)
class TrainingIdentity:
    """All that must be equal for a resumed training to be the same; `training` is a `TrainingConfig`."""

    card: ModelCard
    training: Any
    seed: int
    data_hash: str

    @property
    def digest(self) -> str:
        """What a training state is known by; how often it logs or saves may change."""
        decisive = dataclasses.replace(self.training, log_every=1, checkpoint_every_seconds=0.0)
        # The splits, which choose the dataset's images, are part of the config.
        return content_hash([self.card.fields, to_dict(decisive), self.seed, self.data_hash])

    def check(self, state: Mapping[str, Any], folder: Path) -> None:
        """Refuse a training state of `folder` that is another training's, with what differs."""
        if state.get("identity") != self.digest:
            raise UserError(
                f"{folder} holds {self._what(state, folder)}: repeat the settings that it began with, choose "
                "another folder or delete it"
            )

    def _what(self, state: Mapping[str, Any], folder: Path) -> str:
        if "dataset" not in state:
            return "a training of an earlier version, which kept no note of its dataset"
        if state["dataset"] != self.data_hash:
            return "a training with other images"
        there = _card_fields(folder)
        here = self.card.fields
        if there.get("method", self.card.method) != self.card.method:
            return f"a training of {there['method']}, not of {self.card.method}"
        if there and there.get("start_sha256") != here.get("start_sha256"):
            return "a training with another start (--start)"
        differences = _differences(there.get("config", {}), here["config"])
        if differences:
            return f"a training with other settings ({', '.join(differences[:NAMED])})"
        return "a training with other settings (the seed, or a field of `training`)"


def _card_fields(folder: Path) -> dict[str, Any]:
    """Return what `config.json` in `folder` says, nothing where it cannot be read."""
    try:
        fields = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _differences(there: Any, here: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ, each with both values."""
    if not isinstance(there, dict):
        return []
    plain = json.loads(json.dumps(here))  # as the file has them: tuples are lists there
    return [
        f"{name} is {there[name]} there, {plain[name]} here"
        for name in plain
        if name in there and there[name] != plain[name]
    ]
