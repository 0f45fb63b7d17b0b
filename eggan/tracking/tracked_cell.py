"""A cell's run as a store has it: what reports stand on."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TrackedCell:
    """One cell's run in a store; `datasets` maps name to digest, times are in milliseconds."""

    run_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Mapping[str, str]
    started_ms: int
    ended_ms: int
    artifact_uri: str = ""
