"""Which photographs a command reads of files and folders, and where in a folder the result of each goes.

Results have the photographs' names; the paths below a given folder are kept. What cannot be read stops none
of the others, and is listed at the end.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eggan.errors import UserError
from eggan.pictures import STILL

OTHERWISE = ".png"  # what a photograph becomes whose own form is not written


@dataclass(frozen=True)
class Given:
    """Photographs in the order in which they were given, each once, with the name that it has there.

    `unusable` are lines on images in given folders that cannot be read, `notes` on what was passed over.
    """

    named: dict[Path, Path] = field(default_factory=dict)
    unusable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are, those that cannot be read included."""
        return len(self.named) + len(self.unusable)


@dataclass(frozen=True)
class Place:
    """A photograph, and the file that its edit is written to."""

    photograph: Path
    result: Path


@dataclass(frozen=True)
class Places:
    """What is edited, and what else was given."""

    places: list[Place]
    given: Given


def photographs_among(images: Sequence[Path], passed_over: Path | None = None) -> Given:
    """Return the photographs `images` and those in the folders among them; none is a `UserError`.

    What lies in the folder `passed_over` is none of another folder's.
    """
    found = Given()
    for image in images:
        if image.is_dir():
            _take_folder(image, found, passed_over)
        elif image.exists():
            found.named.setdefault(image, Path(image.name))
        else:
            raise UserError(f"no such image: {image}")
    once = {path.resolve(): path for path in reversed(found.named)}
    for path in [path for path in found.named if once[path.resolve()] is not path]:
        del found.named[path]
    if not found.named:
        reasons = f" that can be read ({found.unusable[0]})" if found.unusable else ""
        raise UserError(f"no image{reasons} lies in {', '.join(map(str, images))}")
    return found


def places_of(images: Sequence[Path], output: Path) -> Places:
    """Return where the edits of `images`, files and folders, go in the folder `output`.

    Two in one place, and one in that of a photograph, are a `UserError`.
    """
    if output.suffix.lower() in STILL and not output.is_dir():
        raise UserError(f"{output} is the name of one picture: name a folder for several photographs")
    given = photographs_among(images, output)
    places = [Place(path, output / _written(name)) for path, name in given.named.items()]
    _check_apart(places)
    return Places(places, given)


def list_left_out(lines: Sequence[str], count: int, deed: str) -> None:
    """Print what was left out of `count` photographs, a line with its reason each; any is a `UserError`.

    `deed` is what could not be done, such as "read". Where there was one photograph alone, its line is the
    error.
    """
    if lines and count == 1:
        raise UserError(lines[0])
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)
    if lines:
        raise UserError(f"{len(lines)} of {count} photographs could not be {deed}, as listed above")


def _take_folder(root: Path, found: Given, passed_over: Path | None) -> None:
    from eggan.data.photos.records import find_photographs  # one photograph alone does without

    listed = find_photographs(root)
    own = passed_over.resolve() if passed_over and passed_over.resolve() != root.resolve() else None
    for name in listed.files:
        if own is None or not (root / name).resolve().is_relative_to(own):
            found.named.setdefault(root / name, Path(name))
    found.unusable.extend(f"{root / problem.source_file}: {problem.reason}" for problem in listed.problems)
    found.notes.extend(listed.notes)


def _written(name: Path) -> Path:
    return name if name.suffix.lower() in STILL else name.with_name(name.name + OTHERWISE)


def _check_apart(places: Sequence[Place]) -> None:
    """Raise a `UserError` where a result would be written over a photograph or over another result."""
    photographs = {place.photograph.resolve() for place in places}
    writers: dict[Path, Path] = {}
    for place in places:
        result = place.result.resolve()
        if result in photographs:
            raise UserError(f"{place.result} is one of the photographs: choose another folder for results")
        if (other := writers.setdefault(result, place.photograph)) is not place.photograph:
            raise UserError(
                f"{other} and {place.photograph} would both become {place.result}: name the folder above "
                "both, or call twice with another -o"
            )
