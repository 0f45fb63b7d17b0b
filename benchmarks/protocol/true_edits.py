"""The true edits of a request, rendered once and kept by content: every cell of a suite shares them."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.protocol.edit_requests import EditSet
from eggan.data.dataset import Dataset
from eggan.files import announce_remaking, locked, write_atomically
from eggan.progress import working

NO_TRUTH = "no ground truth: only SynFACS can render the true edit"


def render_synfacs(dataset: Dataset, rows: np.ndarray, target_aus: np.ndarray, workers: int) -> np.ndarray:
    """Render true edits with SynFACS, behind a progress bar: uint8 (N, H, W, 3)."""
    from eggan.data.synfacs import render_edits  # loads the renderer, which few commands need

    return render_edits(dataset, rows, target_aus, workers=workers, progress=True)


@contextmanager
def made_once(place: Path, what: str) -> Iterator[None]:
    """Let one process at a time make `place`; the others wait, say so, and then find it there."""
    with ExitStack() as held:
        with working(f"waiting for another process, which makes {what}"):
            held.enter_context(locked(place.with_name(f".{place.name}.lock")))
        yield


@dataclass(frozen=True)
class TruthCache:
    """Renders true edits and keeps them in `folder`."""

    folder: Path
    workers: int
    render: Callable[..., np.ndarray] = render_synfacs

    def of(self, edits: EditSet, what: str) -> np.ndarray | None:
        """Return the true edits of a set, uint8 (N, H, W, 3); None for a dataset that is not SynFACS."""
        if not edits.sources.is_synfacs:
            return None
        path = self.path(edits)
        kept = _kept(path, edits)
        if kept is not None:
            return kept
        with made_once(path, what):
            kept = _kept(path, edits)  # another process may have made it meanwhile
            if kept is not None:
                return kept
            if path.exists():
                announce_remaking(path)
            self._render(edits, what, path)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _render(self, edits: EditSet, what: str, path: Path) -> None:
        print(f"rendering {what}", file=sys.stderr)
        truth = self.render(edits.sources, edits.rows, edits.target_aus, workers=self.workers)
        write_atomically(path, lambda staging: np.save(staging, truth, allow_pickle=False))

    def path(self, edits: EditSet) -> Path:
        """Return where the true edits of a set are kept."""
        return self.folder / f"truth-{_key(edits)}.npy"


def _kept(path: Path, edits: EditSet) -> np.ndarray | None:
    """Return a set's true edits where its file holds them whole."""
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    size = edits.sources.size
    is_whole = kept.dtype == np.uint8 and kept.shape == (len(edits.rows), size, size, 3)
    return kept if is_whole else None


def _key(edits: EditSet) -> str:
    digest = hashlib.sha256(edits.sources.content_hash.encode())
    digest.update(np.ascontiguousarray(edits.rows, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(edits.target_aus, dtype=np.float32).tobytes())
    return digest.hexdigest()[:24]
