"""A worker that dies at a chosen step: a write to the journal, or a change of a file."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileBackend

from studies.storage import liveness, trials
from studies.storage.liveness import Watch, close_stale, this_host
from studies.storage.trial_tracking import settle_all
from studies.storage.trials import queue_forgotten
from studies.worker import Worker
from tests.studies import study_context as small

NOBODY = {"host": this_host(), "pid": 2**22 + 1, "started": 0.0}  # beyond the largest process number


class Killed(BaseException):
    """The process is gone: what nothing here catches, as nothing catches SIGKILL."""


class Steps:
    """Counts steps and dies before one of them; a dead process does nothing more."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal, self.names = fatal, list[str]()

    def take(self, name: str) -> None:
        if self.fatal is not None and len(self.names) >= self.fatal:
            raise Killed(name)
        self.names.append(name)


@contextmanager
def mortal(steps: Steps) -> Iterator[None]:
    """Count a process's steps while the block runs, as one that nobody finds afterwards."""

    def counting(owner, name, describe):
        original = getattr(owner, name)

        def counted(*given, **named):
            steps.take(describe(*given))
            return original(*given, **named)

        patch.setattr(owner, name, counted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "owner_of_this_process", lambda: NOBODY)
        counting(JournalFileBackend, "append_logs", lambda backend, logs: f"log {json.dumps(logs)[:150]}")
        counting(os, "replace", lambda old, new: f"replace {'/'.join(Path(new).parts[-3:])}")
        counting(shutil, "copyfile", lambda old, new: f"copy {'/'.join(Path(old).parts[-3:])}")
        counting(Path, "unlink", lambda path, *_: f"unlink {'/'.join(path.parts[-3:])}")
        yield


def command(root: Path, fatal: int | None = None, keep_weights: bool = False, **settings) -> list[str]:
    """Run a study as its command does, to its end or to its death; return the steps that were taken."""
    steps = Steps(fatal)
    with pytest.MonkeyPatch.context() as patch:
        often = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
        patch.setattr(small, "TRAINING", often)
        patch.setattr(trials, "CLOSING_SECONDS", 0.0)
        context = small.make_context(root, beat_seconds=30.0, **settings)
        with mortal(steps):
            try:
                study = small.make_study(context)
                close_stale(study, context.study, Watch(context.folder))
                queue_forgotten(study, context.study)
                settle_all(study, context.folder, None, keep_weights)
                Worker(context, study, keep_weights=keep_weights).run()
                settle_all(study, context.folder, None, keep_weights)
            except Killed:
                pass
    return steps.names
