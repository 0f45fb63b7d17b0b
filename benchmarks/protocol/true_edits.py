"""The true edits of a request, rendered once and kept by content: every cell of a suite shares them."""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.protocol.edit_requests import Request
from eggan.data.dataset import Dataset
from eggan.files import write_atomically

NO_TRUTH = "no ground truth: only SynFACS can render the true edit"


def is_synfacs(dataset: Dataset) -> bool:
    """Return whether a dataset is rendered, so that its true edits can be rendered too."""
    return dataset.name.startswith("synfacs")


def render_synfacs(dataset: Dataset, rows: np.ndarray, target_aus: np.ndarray, workers: int) -> np.ndarray:
    """Render true edits with SynFACS, behind a progress bar: uint8 (N, H, W, 3)."""
    from eggan.data.synfacs import render_edits  # loads the renderer, which few commands need

    return render_edits(dataset, rows, target_aus, workers=workers, progress=True)


@dataclass(frozen=True)
class TruthCache:
    """Renders true edits and keeps them in `folder`."""

    folder: Path
    workers: int
    render: Callable[..., np.ndarray] = render_synfacs

    def of(self, request: Request, what: str) -> np.ndarray | None:
        """Return the true edits of a request, uint8 (N, H, W, 3); None for a dataset that is not SynFACS."""
        if not is_synfacs(request.sources):
            return None
        path = self.folder / f"truth-{_key(request)}.npy"
        if path.exists():
            return np.load(path, mmap_mode="r", allow_pickle=False)
        print(f"rendering {what}", file=sys.stderr)
        truth = self.render(request.sources, request.rows, request.target_aus, workers=self.workers)
        write_atomically(path, lambda staging: np.save(staging, truth, allow_pickle=False))
        return truth


def _key(request: Request) -> str:
    digest = hashlib.sha256(request.sources.content_hash.encode())
    digest.update(np.ascontiguousarray(request.rows, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(request.target_aus, dtype=np.float32).tobytes())
    return digest.hexdigest()[:24]
