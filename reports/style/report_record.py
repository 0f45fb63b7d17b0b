"""What a report was made of, written into its folder: one whose inputs are the same is not made again.

A report is kept only where nothing differs: what it shows, the code and the libraries that drew it, and every
one of its files, to the byte.
"""

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import baselines
import benchmarks
import eggan
import reports
import studies
from eggan.files import files_in, hash_files, read_whole_json, write_atomically

RECORD = "report.json"
PACKAGES = (eggan, baselines, benchmarks, studies, reports)
SOURCES = (".py", ".html", ".js", ".css", ".csv", ".json")
LIBRARIES = (
    *("numpy", "pandas", "pyarrow", "jinja2"),
    *("matplotlib", "pillow", "fonttools", "kiwisolver", "contourpy"),
)


@cache
def code_digest() -> str:
    """Return the sha256 of our code, of the versions of what it draws with, and of Python's."""
    return digest_of(PACKAGES)


def digest_of(packages: Iterable[ModuleType]) -> str:
    """Return what `code_digest` does, of these packages as they are now."""
    digest = hashlib.sha256()
    for package in packages:
        root = Path(str(package.__file__)).parent
        for path in sorted(path for path in root.rglob("*") if path.suffix in SOURCES):
            content = path.read_bytes()
            digest.update(f"{package.__name__}/{path.relative_to(root)} {len(content)}\n".encode())
            digest.update(content)
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    digest.update(json.dumps([sys.version, versions]).encode())
    return digest.hexdigest()


def write_record(folder: Path, inputs: str, summary: str) -> None:
    """Write into a finished report what it was made of, and what the terminal shows of it."""
    _write(folder, {"inputs": inputs, "summary": summary, "files": _hashes(folder)})


def kept_summary(folder: Path, inputs: str) -> str | None:
    """Return what the terminal shows of the report in `folder`, where it was made of these very inputs.

    None where there is none, where it was made of others, and where a file of it is missing, changed or new.
    """
    record = _read(folder)
    if record is None or record["inputs"] != inputs:
        return None
    try:
        return str(record["summary"]) if record["files"] == _hashes(folder) else None
    except OSError:  # somebody else is at work on them
        return None


def kept_summary_of(folder: Path, source: str) -> str | None:
    """Return what `kept_summary` does, where the report's runs lay in this very `source` when it was made."""
    record = _read(folder)
    known = record is not None and record.get("source") == source
    return kept_summary(folder, str(record["inputs"])) if record is not None and known else None


def remember_source(folder: Path, source: str) -> None:
    """Add to a report's record where its runs lay: the next one need not read them to know that they are the
    same.
    """
    record = _read(folder)
    if record is not None and record.get("source") != source:
        _write(folder, {**record, "source": source})


def has_record(folder: Path) -> bool:
    """Return whether the folder's `report.json` is ours."""
    return _read(folder) is not None


def _read(folder: Path) -> Mapping[str, object] | None:
    record = read_whole_json(folder / RECORD)
    ours = isinstance(record, dict) and record.keys() - {"source"} == {"inputs", "summary", "files"}
    return record if ours else None


def _write(folder: Path, record: Mapping[str, object]) -> None:
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_atomically(folder / RECORD, lambda path: path.write_text(text, encoding="utf-8"))


def _hashes(folder: Path) -> dict[str, str]:
    return {name: hash_files([folder / name]) for name in files_in(folder) if name != RECORD}
