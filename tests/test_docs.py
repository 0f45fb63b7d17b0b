"""Documents name files that exist, and stay as short as they promise."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
