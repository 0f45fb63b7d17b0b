"""A worker process of a small study: python work.py ROOT NUMBER SETTINGS URL KILL_AT.

KILL_AT: the update of the first trial at which the process kills itself, -1 for never.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

from studies.storage import open_study
from studies.worker import Worker
from tests.studies import desk as small


def main(root: str, number: str, settings: str, url: str, kill_at: str) -> None:
    update = small.StudiedPainter.update

    def fatal(self, batch, step):
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, batch, step)

    small.StudiedPainter.update = fatal
    small.TRAINING = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
    desk = small.make_desk(Path(root), storage=url, **json.loads(settings))
    Worker(desk, open_study(desk.folder(), url), int(number)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
