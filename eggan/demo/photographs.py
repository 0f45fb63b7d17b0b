"""Photographs that the page has open: analysed once, edited at every move of a slider, in memory only.

The page shows a view, the photograph reduced until an edit takes no longer than a slider may, and edits of
the view; the photograph itself is edited when it is downloaded.
"""

import io
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from eggan.aus import AU_COUNT
from eggan.data.decoding import Original, decode_original
from eggan.edit.editing import Model
from eggan.edit.photo_faces import doubts, find_faces_of, steadied
from eggan.edit.photograph import Box, PhotographEditor
from eggan.evaluation.landmark_reader import LandmarkReader
from eggan.faces.face import Face
from eggan.pictures import same_colours

VIEW_SIDE = 2048  # pixels: what browsers show at once
FACE_SIDE = 400  # pixels of the square around a face: what is edited while a slider moves
LARGEST_PIXELS = 24_000_000  # of what is edited: bounds the memory of one photograph
BLOCK = 8  # pixels of JPEG: regions of whole blocks are coded as the view has them
REDUCING_GAP = 2.0  # saves time and memory; at 3 the result would be Lanczos' own
QUALITY = 92
COMPRESSION = 3  # of 9: a photograph's PNG is hardly smaller beyond, and takes several times as long
THUMBNAIL_SIDE = 320
LARGEST_PROFILE = 64 << 10  # bytes; it goes with every edit
KEPT = 8
KEPT_BYTES = 256 << 20
Targets = Mapping[int, np.ndarray]  # AUs (17,) in [0, 5] by the number of the face


@dataclass(frozen=True)
class Picture:
    """What a file holds: `pixels` uint8 (H, W, 3), their colour profile, and notes in sentences."""

    name: str
    pixels: np.ndarray
    profile: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Analyst:
    """Opens photographs: `model` edits them, `reader` reads what their faces show."""

    model: Model
    reader: LandmarkReader

    def open(self, name: str, content: bytes) -> "OpenPhotograph":
        """Return the photograph in a file; an unusable one, or one without a face, is a `UserError`."""
        picture = read_picture(name, content)
        faces = [steadied(face, picture.pixels) for face in _faces(picture)]
        return OpenPhotograph(picture, faces, self._shown(faces), self.model)

    def read(self, name: str, content: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the AUs (17,) of the largest face in a file, NaN where unreadable, and notes on it."""
        picture = read_picture(name, content)
        faces = _faces(picture)
        several = (f"Of {len(faces)} faces the largest was read",) if len(faces) > 1 else ()
        return self._shown([steadied(faces[0], picture.pixels)])[0], picture.notes + several

    def _shown(self, faces: list[Face]) -> np.ndarray:
        return self.reader.read(np.stack([face.landmarks for face in faces]))


class OpenPhotograph:
    """A photograph with its faces, and what they show: `aus` (N, 17), NaN where it cannot be read."""

    def __init__(self, picture: Picture, faces: list[Face], aus: np.ndarray, model: Model) -> None:
        self.picture, self.faces, self.aus = picture, faces, aus
        self.newest = -1  # the number of the latest change that was asked for
        self._model = model
        self._patches: dict[int, tuple[bytes, np.ndarray]] = {}

    @property
    def pixels(self) -> np.ndarray:
        """The photograph at its own size: uint8 (H, W, 3)."""
        return self.picture.pixels

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the photograph, in sentences: what was done to it, which faces are hard."""
        numbered = enumerate(self.faces, 1)
        return self.picture.notes + tuple(
            f"Face {number} {doubt}" for number, face in numbered for doubt in doubts(face)
        )

    @cached_property
    def view(self) -> np.ndarray:
        """The photograph as the page shows it: uint8 (h, w, 3), so small that faces are edited live."""
        height, width = self.pixels.shape[:2]
        scale = min(1.0, VIEW_SIDE / max(height, width), FACE_SIDE / max(self._face_sides()))
        if scale == 1:
            return self.pixels
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(Image.fromarray(self.pixels).resize(size, Image.Resampling.LANCZOS))

    @cached_property
    def view_faces(self) -> list[Face]:
        """The faces in pixels of the view."""
        scale = self.view.shape[1] / self.pixels.shape[1]
        return [replace(face, landmarks=face.landmarks * np.float32(scale)) for face in self.faces]

    @cached_property
    def regions(self) -> list[Box]:
        """The part of the view, in whole blocks, that an edit of each face may change."""
        height, width = self.view.shape[:2]
        return [_whole_blocks(editor.box, width, height) for editor in self._editors]

    def view_jpeg(self) -> bytes:
        """Return the view as JPEG."""
        return _jpeg(self.view, self.picture.profile)

    def preview(self, face: int, targets: Targets) -> bytes:
        """Return the region of a face, as edits to `targets` leave it, as JPEG."""
        left, top, right, bottom = self.regions[face]
        edited = self.view[top:bottom, left:right].copy()
        for editor, patch in self._layers(targets):
            _lay(edited, (left, top), self.view, editor.box, patch)
        return _jpeg(edited, self.picture.profile)

    def warm_up(self) -> None:
        """Edit once: what is made at the first edit of a process takes longer than a slider may."""
        self.preview(0, {0: np.zeros(AU_COUNT, np.float32)})

    def edited_png(self, targets: Targets) -> bytes:
        """Return `edited` as a PNG file."""
        stream = io.BytesIO()
        options = {"compress_level": COMPRESSION, "icc_profile": self.picture.profile or None}
        Image.fromarray(self.edited(targets)).save(stream, "PNG", **options)
        return stream.getvalue()

    def edited(self, targets: Targets) -> np.ndarray:
        """Return the photograph at its own size with these edits: uint8 (H, W, 3)."""
        picture = self.pixels.copy()
        for number, aus in targets.items():
            editor = PhotographEditor(self._model, self.pixels, self.faces[number], self.aus[number])
            _lay(picture, (0, 0), self.pixels, editor.box, editor.patch(aus))
        return picture

    def _face_sides(self) -> list[float]:
        return [PhotographEditor(self._model, self.pixels, face).side for face in self.faces]

    @cached_property
    def _editors(self) -> list[PhotographEditor]:
        """One way is enough while a slider moves: both take twice as long and differ by little."""
        pairs = zip(self.view_faces, self.aus, strict=True)
        return [PhotographEditor(self._model, self.view, face, aus, both_ways=False) for face, aus in pairs]

    def _layers(self, targets: Targets) -> Iterator[tuple[PhotographEditor, np.ndarray]]:
        """Yield the edit of each face; of those whose AUs did not change, the one there is."""
        for number, aus in targets.items():
            wanted = aus.tobytes()
            made, patch = self._patches.get(number, (b"", None))
            if patch is None or made != wanted:
                patch = self._editors[number].patch(aus)
                self._patches[number] = wanted, patch
            yield self._editors[number], patch


class OpenPhotographs:
    """The photographs that were used last, by their secret names: at most `KEPT`, of `KEPT_BYTES`."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, OpenPhotograph] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, photograph: OpenPhotograph) -> str:
        """Keep a photograph, drop those that were not used for longest, and return its name."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._open[name] = photograph
            while len(self._open) > 1 and (len(self._open) > KEPT or self._bytes() > KEPT_BYTES):
                self._open.popitem(last=False)
        return name

    def get(self, name: str) -> OpenPhotograph | None:
        """Return the photograph of this name; None where it was dropped or never was."""
        with self._lock:
            if name in self._open:
                self._open.move_to_end(name)
            return self._open.get(name)

    def _bytes(self) -> int:
        return sum(photograph.pixels.nbytes for photograph in self._open.values())


def read_picture(name: str, content: bytes) -> Picture:
    """Return what a file holds, at most `LARGEST_PIXELS`; an unusable one is a `UserError`."""
    original = decode_original(Path(name), content)
    notes = tuple(f"The file was {note}" for note in (*original.notes, *_page_notes(original)))
    profile = _profile(original)
    width, height = original.rgb.size
    scale = (LARGEST_PIXELS / (width * height)) ** 0.5
    if scale >= 1:
        return Picture(name, np.asarray(original.rgb), profile, notes)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    reduced = original.rgb.resize(size, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    note = f"The photograph was reduced from {width} x {height} to {size[0]} x {size[1]} pixels"
    return Picture(name, np.asarray(reduced), profile, (*notes, f"{note}, the most that is edited here"))


def _page_notes(original: Original) -> list[str]:
    """Return what a page that shows RGB of 8 bits makes of a picture; each completes "The file was ..."."""
    image, notes = original.image, []
    if original.deep or image.mode.startswith("I"):
        notes.append("read with 8 of the 16 bits of its colours, which the result has too")
    elif image.has_transparency_data and not _is_opaque(image):
        notes.append("put on white where it is transparent: the result has no transparency")
    if original.icc and not _profile(original):
        fits = same_colours(image.mode, "RGB")
        why = "it is too large for a page" if fits else f"it is one of {image.mode}, the result is RGB"
        notes.append(f"read without its colour profile: {why}")
    return notes


def _profile(original: Original) -> bytes:
    """Return the colour profile, where it fits RGB, too, and is small enough to go with every edit."""
    fits = same_colours(original.image.mode, "RGB") and len(original.icc) <= LARGEST_PROFILE
    return original.icc if fits else b""


def _is_opaque(image: Image.Image) -> bool:
    last = len(image.getbands()) - 1
    return image.getbands()[last] in "Aa" and image.getchannel(last).getextrema()[0] == 255


def thumbnail(name: str, content: bytes) -> bytes:
    """Return a small JPEG of a photograph's file; an unusable one is a `UserError`."""
    picture = read_picture(name, content)
    image = Image.fromarray(picture.pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return _jpeg(np.asarray(image), picture.profile)


def _faces(picture: Picture) -> list[Face]:
    advice = ": choose a photograph that shows one from the front"
    return find_faces_of(Path(picture.name), picture.pixels, advice)


def _lay(
    picture: np.ndarray, corner: tuple[int, int], source: np.ndarray, box: Box, patch: np.ndarray
) -> None:
    """Put what `patch` changes of `source` in `box` into `picture`, whose corner is at `corner` of `source`.

    The square of one face reaches into a neighbour's; what it leaves as it was must not undo an edit there.
    """
    left, top = (max(side, start) for side, start in zip(box[:2], corner, strict=True))
    right = min(box[2], corner[0] + picture.shape[1])
    bottom = min(box[3], corner[1] + picture.shape[0])
    if left >= right or top >= bottom:
        return
    new = patch[top - box[1] : bottom - box[1], left - box[0] : right - box[0]]
    target = picture[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
    np.copyto(target, new, where=new != source[top:bottom, left:right])


def _whole_blocks(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box
    right, bottom = (-(-end // BLOCK) * BLOCK for end in (right, bottom))
    return left // BLOCK * BLOCK, top // BLOCK * BLOCK, min(right, width), min(bottom, height)


def _jpeg(pixels: np.ndarray, profile: bytes) -> bytes:
    stream = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": 0, "icc_profile": profile or None}
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()
