"""Where the runs of a report lie, as one digest: while it is the same, they need not be read again."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eggan.tracking import local
from reports.style.report_record import code_digest


def source_digest(
    runs: Path, tracking_uri: str | None, suite: str | None, cards: Mapping[str, Any]
) -> str | None:
    """Return a sha256 that differs where anything differs that a report of a suite's tracked runs can show.

    None where that is not known without asking: the store is another one than the runs folder's own, or
    somebody is at work on it.
    """
    if tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    try:
        parts = [code_digest(), suite, dict(cards), local.content_digest(runs)]
    except OSError:
        return None
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()
