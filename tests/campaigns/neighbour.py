"""What one busy process beside it costs a training: `python -m tests.campaigns.neighbour`.

Blocks of training steps, alone and beside a process that does nothing but spin, in turn. The machine must be
quiet; threads are those that every entry point sets (`eggan.startup`), the user's own settings win.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from eggan import startup

SPIN = "while True: pass"
SETTLING = 0.3  # seconds until the scheduler has spread the processes


def main() -> None:
    """Measure and print one line for each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--method", default="eggan")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    arguments = parser.parse_args()
    startup.prepare()
    import torch

    from benchmarks.speed import SpeedSettings, Stepper, sized_preset, training_run
    from benchmarks.suites.methods import installed_method
    from eggan.method import MethodEntry

    entry, settings = installed_method(arguments.method), SpeedSettings((arguments.method,))
    assert isinstance(entry, MethodEntry), f"{arguments.method} is not trained"
    with tempfile.TemporaryDirectory() as folder:
        preset = sized_preset(entry, settings.preset, settings.image_size)
        stepper = Stepper(training_run(entry, preset, settings, Path(folder), "cpu"))
        stepper.warm_up()
        print(f"{entry.title}, steps of {settings.batch_size} images, {torch.get_num_threads()} thread(s)")
        ratios = []
        for _ in range(arguments.rounds):
            alone = stepper.block(arguments.steps)
            with spinning():
                beside = stepper.block(arguments.steps)
            ratios.append(beside / alone)
            print(f"alone {alone:.3f} s a step, beside {beside:.3f} s: {ratios[-1]:.2f} times", flush=True)
        print(f"median {median(ratios):.2f}")


@contextlib.contextmanager
def spinning() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        time.sleep(SETTLING)
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
