"""What a worker process of a small study does."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

from studies.storage.study_storage import open_study
from studies.worker import Worker
from tests.studies import study_context as small


def meet(root: Path, number: int, together: int) -> None:
    """Wait until so many workers are in a trial; fail after two minutes."""
    (root / f"in-trial-{number}").touch()
    deadline = time.monotonic() + 120
    while len(list(root.glob("in-trial-*"))) < together:
        if time.monotonic() > deadline:
            raise SystemExit(f"worker {number} is alone")
        time.sleep(0.05)


def main(root: Path, number: int, settings: dict[str, Any], url: str, kill_at: int, together: int) -> None:
    """Work on the study in `root`.

    `kill_at` is the update of the first trial at which the process kills itself, -1 for never; `together` is
    how many workers must be in a trial before any goes on with its first one: a slow start leaves nobody
    without work.
    """
    update = small.StudiedPainter.update

    def fatal(self, batch, step):
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        meet(root, number, together)
        return update(self, batch, step)

    small.StudiedPainter.update = fatal
    small.TRAINING = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
    context = small.make_context(root, storage=url, **settings)
    Worker(context, open_study(context.folder, url)).run()
