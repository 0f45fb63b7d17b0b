"""A command in a process of its own, which gets its parsed arguments in a JSON file.

No words are made of arguments to be parsed again, and no secret stands in a command line.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from eggan import cli, options, startup
from eggan.child_process import python_command

PATH = "path"  # {"path": "a/b"} stands for a Path among plain values


def call_command(path: Path) -> list[str]:
    """Return the command that runs the call in a file."""
    return [*python_command("eggan.command_call"), str(path)]


def write_call(arguments: argparse.Namespace, path: Path) -> None:
    """Write a command's parsed arguments, its function and the words that were typed."""
    path.write_text(call_text(arguments), encoding="utf-8")


def call_text(arguments: argparse.Namespace) -> str:
    """Return a command's parsed arguments, its function and the words that were typed, as JSON."""
    values = dict(vars(arguments))
    run = values.pop("run")
    call = {"run": f"{run.__module__}:{run.__name__}", "words": options.given_words()}
    return json.dumps(call | {"arguments": _plain(values)})


def read_call(path: Path) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments and words that `write_call` wrote."""
    call = json.loads(path.read_text(encoding="utf-8"))
    module, name = call["run"].split(":")
    arguments = argparse.Namespace(**_revived(call["arguments"]), run=getattr(import_module(module), name))
    return arguments, call["words"]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {PATH: str(value)} if isinstance(value, Path) else value


def _revived(value: Any) -> Any:
    if isinstance(value, dict):
        return Path(value[PATH]) if set(value) == {PATH} else {k: _revived(v) for k, v in value.items()}
    return [_revived(item) for item in value] if isinstance(value, list) else value


def main() -> int:
    """Run the call in the file that the one argument names."""
    startup.prepare()
    return cli.reported(lambda: _run(Path(sys.argv[1])))


def _run(path: Path) -> int:
    arguments, words = read_call(path)
    path.unlink()  # it may hold a password, and whoever wrote it may be killed
    return cli.call(arguments, words)


if __name__ == "__main__":
    sys.exit(main())
