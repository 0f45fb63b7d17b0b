"""Where a study's command works and what it leaves behind."""

import argparse
from dataclasses import dataclass

from benchmarks.running.bench_session import choice_of
from benchmarks.running.environment import BenchEnvironment
from eggan import tracking
from eggan.options import resolve_device
from eggan.tracking import Store


@dataclass(frozen=True)
class StudyOptions:
    """The environment, the tracking store that is used (none with `offline`), and whether weights stay."""

    bench: BenchEnvironment
    offline: bool = False
    tracking_uri: str | None = None
    keep_weights: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "StudyOptions":
        """Read the arguments; an unknown device is a `UserError`."""
        bench = BenchEnvironment(
            runs=arguments.runs,
            data=arguments.data,
            device=resolve_device(arguments.device),
            dataset=arguments.dataset,
            choice=choice_of(arguments),
        )
        return cls(bench, arguments.offline, arguments.tracking_uri, arguments.keep_weights)

    def store(self) -> Store | None:
        """Return the store that runs are tracked in; one that does not answer is a `UserError`."""
        if self.offline:
            return None
        return tracking.open_store(self.tracking_uri, self.bench.runs, tracking.STUDIES)
