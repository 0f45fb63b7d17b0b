"""A worker process of a small study: python work.py ROOT NUMBER SETTINGS URL KILL_AT TOGETHER.

KILL_AT: the update of the first trial at which the process kills itself, -1 for never. TOGETHER: how many
workers must be in a trial before any goes on with its first one: a slow start leaves nobody without work.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

from studies.storage.study_storage import open_study
from studies.worker import Worker
from tests.studies import study_context as small


def meet(root: Path, number: str, together: int) -> None:
    """Wait until so many workers are in a trial; fail after two minutes."""
    (root / f"in-trial-{number}").touch()
    deadline = time.monotonic() + 120
    while len(list(root.glob("in-trial-*"))) < together:
        if time.monotonic() > deadline:
            raise SystemExit(f"worker {number} is alone")
        time.sleep(0.05)


def main(root: str, number: str, settings: str, url: str, kill_at: str, together: str) -> None:
    update = small.StudiedPainter.update

    def fatal(self, batch, step):
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        meet(Path(root), number, int(together))
        return update(self, batch, step)

    small.StudiedPainter.update = fatal
    small.TRAINING = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
    context = small.make_context(Path(root), storage=url, **json.loads(settings))
    Worker(context, open_study(context.folder(), url)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
