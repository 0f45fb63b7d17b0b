"""Documents name files and commands that exist, and stay as short as they promise."""

import argparse
import dataclasses
import importlib.util
import re
import shlex
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from eggan import cli
from eggan.errors import UserError

ROOT = Path(__file__).parents[1]
GENERATED = {"reference/commands.md", "reference/settings.md"}  # by `make docs`, which may have run here
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
WRITTEN = {name: path for name, path in PAGES.items() if name not in GENERATED}
DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *WRITTEN.values()]
PACKAGES = ("eggan", "baselines", "benchmarks", "studies", "reports", "tests", "docs")
FILE = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]*)`")
FENCED = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def missing_files(text: str, folder: Path) -> list[str]:
    """Return the files in backticks, and the targets of links, that are not there."""
    text = FENCED.sub("", text)
    named = [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    return named + [link for link in LINK.findall(text) if not (folder / link).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_a_document_names_are_there(path):
    assert missing_files(path.read_text(encoding="utf-8"), path.parent) == []


def test_a_file_that_is_not_there_is_found():
    text = (
        "`eggan/model.py` and `eggan/nothing.py`, [here](docs) and [there](nowhere.md), [far](https://x.org)"
    )
    assert missing_files(text, ROOT) == ["eggan/nothing.py", "nowhere.md"]


def test_the_map_of_the_code_is_short_and_answers_the_likely_questions():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    answers = text.partition("## Where do I change")[2].splitlines()
    assert sum(line.startswith("| ") and "`" in line for line in answers) >= 12


def test_every_picture_of_the_documents_is_shown_in_one():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    shown = {Path(name).name for name in re.findall(r"[\w./-]+\.(?:png|jpg)", text)}
    pictures = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".jpg")}
    assert pictures - shown == set()


def shell_commands(text: str) -> list[list[str]]:
    """Return the words of every `eggan` command in the shell blocks of a document."""
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    words = [shlex.split(part, comments=True) for line in lines for part in re.split(r"&&|;", line)]
    return [found[1:] for found in words if found[:1] == ["eggan"]]


COMMANDS = {
    " ".join(words): path.name
    for path in DOCUMENTS
    for words in shell_commands(path.read_text(encoding="utf-8"))
}


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    return cli.build_parser([], entry_points(group=cli.GROUP))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"eggan {command}")
def test_a_command_in_a_document_is_understood(command, parser, capsys):
    try:
        parser.parse_args(shlex.split(command))
    except (SystemExit, UserError) as error:
        pytest.fail(f"{COMMANDS[command]}: eggan {command}: {error} {capsys.readouterr().err}")


def test_a_command_that_is_not_there_is_found(parser):
    (words,) = shell_commands("```sh\neggan edit face.jpg --colour 3  # a wish\n```")
    with pytest.raises((SystemExit, UserError)):
        parser.parse_args(words)


def test_the_readme_is_short_and_its_first_command_is_near_the_top():
    """One picture, one table, two commands, five links: the rest is in the pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 150
    assert lines.index("make quickstart") < 30
    assert len(re.findall(r"!\[[^\]]+\]\(", text)) == 1
    assert sum(line.startswith("| ---") for line in lines) == 1
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 2
    assert len(re.findall(r"(?<!!)\[[^\]]+\]\(", text)) == 5


def pages_of(nav: list) -> list[str]:
    targets = [target for entry in nav for target in entry.values()]
    return [page for t in targets for page in ([t] if isinstance(t, str) else pages_of(t))]


def test_every_page_is_in_the_site():
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = pages_of(config["project"]["nav"])
    assert len(pages) == len(set(pages))
    assert set(pages) == set(WRITTEN) | GENERATED


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_command_and_every_setting(reference, parser):
    page = reference.commands_page(parser)
    for command in ("eggan edit", "eggan bench run", "eggan study run", "eggan data build synfacs"):
        assert f"# {command}\n" in page
    for section in page.split("\n## ")[1:]:
        assert "example" in section, section.splitlines()[0]
    assert "--images-per-identity" in page  # of a command that learns its options late
    assert "--allow-incomplete" in page
    classes = reference.config_classes()
    settings = reference.settings_page(classes)
    assert {"TrainingConfig", "EGGANConfig", "WarpConfig", "StarGANConfig"} <= {k.__name__ for k in classes}
    for kind in classes:
        for field in dataclasses.fields(kind):
            assert f"| `{field.name}` |" in settings
