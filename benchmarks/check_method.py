"""`eggan check-method`: the contract of a method, checked on faces that are drawn for it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.errors import UserError, known_names
from eggan.options import add_command, add_device_argument, add_setting_argument, resolve_device
from eggan.progress import loading

if TYPE_CHECKING:
    from eggan.conformance.checks import Subject
    from eggan.method import Method, MethodEntry

EXAMPLES = """examples:
  eggan check-method mymethod                               an installed method, with its smallest preset
  eggan check-method mymethod --preset cpu --set width=8    with a preset of your choice, made smaller
A method of your own package is named in the entry-point group eggan.methods: see docs/add-a-method.md."""
DEFAULT_SIZE = 64  # of the drawn faces, for a config that names no image size
FAILED = 1


def register(subparsers: Any) -> None:
    """Add `eggan check-method`."""
    summary = "check that a method keeps the contract which training, suites and edits rely on"
    parser = add_command(subparsers, "check-method", summary, EXAMPLES)
    parser.add_argument("method", metavar="METHOD", help="a trainable method: see `eggan bench list`")
    parser.add_argument("--preset", help="settings to try (default: the preset with the smallest images)")
    add_setting_argument(parser)
    add_device_argument(parser)
    parser.set_defaults(run=run_check_method)


def run_check_method(arguments: argparse.Namespace) -> int:
    """Print a line per check; return 0, or 1 when one failed."""
    with loading():
        import tempfile

        from benchmarks.suites.presets import trainable
        from eggan.config import override, to_dict
        from eggan.conformance.checks import CHECKS, failure_of

    entry = trainable(arguments.method)
    preset = arguments.preset or min(entry.presets, key=lambda name: _size(to_dict(entry.presets[name])))
    if preset not in entry.presets:
        raise UserError(f"{entry.name} has no preset {preset!r}{known_names(preset, entry.presets)}")
    config = override(entry.presets[preset], arguments.assignments)
    device = resolve_device(arguments.device)
    print(f"{entry.title}, preset {preset}, on {device}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subject = _subject(entry, config, device, Path(folder))
        for name, check in CHECKS.items():
            failure = failure_of(check, subject)
            failed += bool(failure)
            print(f"FAIL  {name}: {failure}" if failure else f"ok    {name}", flush=True)
    print(f"{failed} of {len(CHECKS)} checks failed" if failed else f"all {len(CHECKS)} checks hold")
    return FAILED if failed else 0


def _size(config: dict[str, Any]) -> int:
    return int(config.get("image_size", DEFAULT_SIZE))


def _subject(entry: "MethodEntry", config: Any, device: str, folder: Path) -> "Subject":
    import torch

    from eggan.config import to_dict
    from eggan.conformance.checks import Subject
    from eggan.conformance.faces import drawn_faces
    from eggan.data.dataset import TRAIN
    from eggan.data.training_set import load_training_set
    from eggan.method import BuildContext

    dataset = drawn_faces(folder / "faces", size=_size(to_dict(config)), grouped=True)
    data = load_training_set(dataset, (TRAIN,), device)

    def build(seed: int) -> "Method":
        context = BuildContext(dataset, seed, torch.device(device), folder / "cache", _silent)
        return entry.build(config, context)

    return Subject(entry, config, build, data)


def _silent(items: Any, total: int, description: str) -> Any:
    return items
