"""The command line of `eggan bench speed`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError
from eggan.files import dated_folder
from eggan.options import (
    add_device_argument,
    add_offline_argument,
    add_runs_argument,
    add_tracking_argument,
    resolve_device,
)
from eggan.progress import loading

if TYPE_CHECKING:
    from benchmarks.speed import Speed, SpeedSettings

METHODS = ("eggan", "eggan-w", "stargan", "homointerpgan", "ganimation")
OFFICIAL = "stargan="
HEADER = ["method", "ms/step", "images/s", "edit 1 (ms)", "edit 64 (ms)", "memory (MiB)"]
COLUMNS = ("step_ms", "images_per_second", "edit_ms_b1", "edit_ms_b64", "peak_memory_mib")


def add_speed(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eggan bench speed`."""
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="what to time (default: all of the project's; none with --official)",
    )
    parser.add_argument("--preset", default="cpu", help="networks and losses (default: cpu)")
    parser.add_argument("--size", type=int, default=64, metavar="N", help="pixels: 64 or 128 (default: 64)")
    parser.add_argument(
        "--batch", type=int, metavar="N", help="images of a step (default: 16 at 64 px, 8 at 128 px)"
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "off", "bf16"],
        default="auto",
        help="off is float32 (default: auto, as trainings choose)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=5,
        metavar="N",
        help="least training steps of a block, in whole cycles of a method's (default: 5)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="blocks; their median counts (default: 5)"
    )
    parser.add_argument(
        "--official", metavar="stargan=FOLDER", help="time the official code of that checkout beside ours"
    )
    add_offline_argument(parser)
    add_device_argument(parser)
    add_runs_argument(parser)
    add_tracking_argument(parser)
    parser.set_defaults(run=run_speed)


def run_speed(arguments: argparse.Namespace) -> int:
    """Measure, print and track; return 0."""
    with loading():
        from benchmarks import speed
        from benchmarks.official_stargan import check_checkout
        from benchmarks.running.measured_speed import SPEED
    from eggan import tracking

    official = official_folder(arguments.official)
    settings = speed.SpeedSettings(
        arguments.methods or (METHODS if official is None else ()),
        arguments.preset,
        arguments.size,
        speed.BATCHES.get(arguments.size, 16) if arguments.batch is None else arguments.batch,
        arguments.precision,
        arguments.steps,
        arguments.rounds,
    )
    settings.check()
    if official is not None:
        check_checkout(official)  # before minutes of measuring
    device = resolve_device(arguments.device)
    store = None if arguments.offline else tracking.open_store(arguments.tracking_uri, arguments.runs)
    measured = {
        "machine": speed.machine_ceiling(device),
        "renderer": speed.renderer_rate(settings.image_size),
    }
    for name in settings.methods:
        measured[name] = speed.measure_method(name, settings, device)
    if official is not None:
        measured["official-stargan"] = speed.compare_with_official(official, settings, device)
    print(speed_text(measured, settings))
    folder = dated_folder(arguments.runs / SPEED)
    track(folder, measured, settings, device, store)
    print(f"measured on {device}; tracked in {folder}")
    return 0


def official_folder(given: str | None) -> Path | None:
    """Return the folder of `--official stargan=FOLDER`; another form is a `UserError`."""
    if given is None:
        return None
    if not given.startswith(OFFICIAL):
        raise UserError(f"--official {given}: write stargan=FOLDER, a checkout of the official code")
    return Path(given.removeprefix(OFFICIAL))


def speed_text(measured: "Mapping[str, Speed]", settings: "SpeedSettings") -> str:
    """Return the measurements as lines to print."""
    from benchmarks.running.bench_console import table

    rows = [[name, *(f"{measured[name][column]:.1f}" for column in COLUMNS)] for name in settings.methods]
    lines = [
        f"{settings.image_size} px, steps of {settings.batch_size} images, preset {settings.preset}, "
        f"precision {settings.precision}; medians of {settings.rounds} blocks of at least "
        f"{settings.steps} steps",
        *([table(HEADER, rows)] if rows else []),
    ]
    lines += [
        f"{what}: " + ", ".join(f"{name} {value:.1f}" for name, value in measured[what].items())
        for what in ("renderer", "machine", "official-stargan")
        if what in measured
    ]
    return "\n".join(lines)


def track(
    folder: Path, measured: "Mapping[str, Speed]", settings: "SpeedSettings", device: str, store: Any
) -> None:
    """Log the measurements as one run."""
    import dataclasses

    from benchmarks.running.measured_speed import SPEED
    from benchmarks.speed import flat
    from eggan import tracking

    record = tracking.RunRecord(
        name=f"speed/{settings.image_size}px",
        tags={"kind": SPEED, **tracking.code_version(), **tracking.describe_machine(device)},
        params=tracking.flat_params(dataclasses.asdict(settings)),
    )
    run = tracking.TrackedRun(folder, record, store)
    run.log(0, flat(measured))
    run.finish("finished")
