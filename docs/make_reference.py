"""Write the generated pages of the site: every command with its options, every setting with its source.

`make docs` runs it before the site is built:

    python docs/make_reference.py
"""

import argparse
import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from eggan import cli
from eggan.progress import working

FOLDER = Path(__file__).parent / "reference"
PACKAGES = ("eggan", "baselines", "benchmarks", "studies")
WIDTH = "100"  # columns of the help texts


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands and actions below `parser`, in the order of their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name in sorted(action.choices):
                yield action.choices[name]
                yield from commands(action.choices[name])


def commands_page(parser: argparse.ArgumentParser) -> str:
    """Return the page of all commands: what `--help` prints."""
    parts = ["# Commands", "What `--help` prints, for every command.", ""]
    for command in commands(parser):
        level = "##" if len(command.prog.split()) == 2 else "###"
        parts += [f"{level} {command.prog}", "```text", command.format_help().rstrip(), "```", ""]
    return "\n".join(parts)


def config_classes() -> list[type]:
    """Return the dataclasses whose fields all name the source of their default, by name of their module."""
    found = set()
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                members = vars(importlib.import_module(module.name)).values()
                found |= {member for member in members if _is_config(member)}
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def settings_page(classes: list[type]) -> str:
    """Return the page of all settings: field, default, and where the default comes from."""
    parts = ["# Settings", "Fields are set with `--set FIELD=VALUE` or in a TOML file (`--config`).", ""]
    for kind in classes:
        first = (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
        parts += [f"## {kind.__name__}", f"`{kind.__module__}`. {first}", ""]
        parts += ["| field | default | source |", "| --- | --- | --- |"]
        parts += [_row(field) for field in dataclasses.fields(kind)]
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Write both pages."""
    FOLDER.mkdir(exist_ok=True)
    parser = cli.build_parser([], entry_points(group=cli.GROUP))
    with working("reading every command and setting"):
        (FOLDER / "commands.md").write_text(commands_page(parser), encoding="utf-8")
        (FOLDER / "settings.md").write_text(settings_page(config_classes()), encoding="utf-8")


def _is_config(value: Any) -> bool:
    if not (isinstance(value, type) and dataclasses.is_dataclass(value)):
        return False
    fields = dataclasses.fields(value)
    return bool(fields) and all("source" in field.metadata for field in fields)


def _row(field: dataclasses.Field[Any]) -> str:
    default = "" if field.default is dataclasses.MISSING else repr(field.default)
    if dataclasses.is_dataclass(field.default):
        default = f"{type(field.default).__name__}()"
    source = field.metadata["source"].replace("|", "\\|")
    return f"| `{field.name}` | `{default}` | {source} |"


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = WIDTH
    main()
