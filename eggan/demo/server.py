"""The demo's server: what the page asks, what it gets, and how much of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from eggan.aus import (
    AU_COUNT,
    AU_NAMES,
    AU_NUMBERS,
    EXPRESSIONS,
    MAX_INTENSITY,
    au_index,
    check_au_vector,
    expression_aus,
)
from eggan.demo.guard import Guard
from eggan.demo.photographs import Analyst, OpenPhotograph, OpenPhotographs, Targets, thumbnail
from eggan.errors import UserError

PAGE = Path(__file__).parent / "page"
GROUPS = {
    "Brows": (1, 2, 4),
    "Eyes": (5, 7, 45),
    "Nose and cheeks": (6, 9),
    "Mouth": (10, 12, 14, 15, 17, 20, 23, 25, 26),
}
MARKS = (12, 14, 15, 23)  # at the mouth, each shown by all people in one expression and by few in others
LARGEST_FILE = 40 << 20  # bytes of an upload
LARGEST_QUESTION = 64 << 10  # bytes of JSON
UPLOAD_SECONDS = 120
LONGEST_NAME = 80
UPLOADS = 2  # at a time: bounds the memory of files that are on their way
GONE = "this photograph is not kept any more: open it again"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Example:
    """A photograph that the page offers: a name that can be shown, and the bytes of its file."""

    name: str
    content: bytes


class DemoServer:
    """Answers the page. One whole photograph is worked on at a time, and one view beside it."""

    def __init__(self, analyst: Analyst, examples: Sequence[Example], opened: int | None = None) -> None:
        """`opened` is the number of the example that the page opens by itself."""
        self._analyst, self._examples, self._opened = analyst, examples, opened
        self._thumbnails = [thumbnail(example.name, example.content) for example in examples]
        self._photographs = OpenPhotographs()
        self._uploads = anyio.CapacityLimiter(UPLOADS)
        self._whole, self._views = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)

    def application(self) -> ASGIApp:
        """Return the application, guarded."""
        routes = [
            Route("/", self.page),
            Mount("/page", StaticFiles(directory=PAGE)),
            Route("/examples/{number:int}", self.example),
            Route("/examples/{number:int}/open", self.open_example, methods=["POST"]),
            Route("/photographs", self.open, methods=["POST"]),
            Route("/readings", self.read, methods=["POST"]),
            Route("/photographs/{name}/view", self.view),
            Route("/photographs/{name}/edits", self.edit, methods=["POST"]),
            Route("/photographs/{name}/edited", self.edited, methods=["POST"]),
        ]
        handlers: Any = {UserError: _refused, HTTPException: _failed, Exception: _broken}
        return Guard(Starlette(routes=routes, exception_handlers=handlers))

    # --- the page

    async def page(self, request: Request) -> Response:
        """Return the page itself."""
        return HTMLResponse(page_html([example.name for example in self._examples], self._opened))

    async def example(self, request: Request) -> Response:
        """Return an example as the page shows it before it is chosen."""
        return Response(self._thumbnails[self._number(request)], media_type="image/jpeg")

    # --- photographs

    async def open(self, request: Request) -> Response:
        """Take an upload, find its faces and read them."""
        name = _file_name(request)
        async with self._uploads:
            content = await _body(request, LARGEST_FILE)
            return await self._opened_photograph(name, content)

    async def open_example(self, request: Request) -> Response:
        """Open an example as if it were uploaded."""
        example = self._examples[self._number(request)]
        return await self._opened_photograph(example.name, example.content)

    async def read(self, request: Request) -> Response:
        """Return the AUs that another photograph shows; it is not kept."""
        name = _file_name(request)
        async with self._uploads:
            content = await _body(request, LARGEST_FILE)
            aus, notes = await self._on_whole(lambda: self._analyst.read(name, content))
        return JSONResponse({"aus": _known(aus), "notes": notes})

    async def view(self, request: Request) -> Response:
        """Return the photograph as the page shows it."""
        photograph = self._photograph(request)
        return Response(await self._on_view(photograph.view_jpeg), media_type="image/jpeg")

    async def edit(self, request: Request) -> Response:
        """Return the region of the face that was edited, or nothing where a newer change has come."""
        photograph = self._photograph(request)
        asked = _question(await _body(request, LARGEST_QUESTION))
        face, number = _index(asked, "face", len(photograph.faces)), _index(asked, "number", 1 << 53)
        targets = _targets(asked, photograph)
        photograph.newest = max(photograph.newest, number)

        def preview() -> bytes | None:
            return photograph.preview(face, targets) if number == photograph.newest else None

        picture = await self._on_view(preview)
        if picture is None:
            return Response(status_code=204)
        return Response(picture, media_type="image/jpeg")

    async def edited(self, request: Request) -> Response:
        """Return the whole photograph at its own size, edited, as a file to keep."""
        photograph = self._photograph(request)
        targets = _targets(_question(await _body(request, LARGEST_QUESTION)), photograph)
        content = await self._on_whole(lambda: photograph.edited_png(targets))
        return Response(content, media_type="image/png")

    # --- what these share

    def _number(self, request: Request) -> int:
        number = request.path_params["number"]
        if number >= len(self._examples):
            raise HTTPException(404, "there is no such example")
        return number

    def _photograph(self, request: Request) -> OpenPhotograph:
        photograph = self._photographs.get(request.path_params["name"])
        if photograph is None:
            raise HTTPException(404, GONE)
        return photograph

    async def _opened_photograph(self, name: str, content: bytes) -> Response:
        photograph = await self._on_whole(lambda: self._analyst.open(name, content))
        description = await self._on_view(lambda: describe(photograph))
        return JSONResponse({"id": self._photographs.add(photograph), **description}, status_code=201)

    async def _on_whole(self, work: Callable[[], Result]) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=self._whole)

    async def _on_view(self, work: Callable[[], Result]) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=self._views)


def page_html(examples: Sequence[str], opened: int | None) -> str:
    """Return the page with its sliders, buttons and examples."""
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True)
    groups = {
        title: [(au_index(number), number, AU_NAMES[number]) for number in numbers]
        for title, numbers in GROUPS.items()
    }
    return environment.get_template("page.html").render(
        groups=groups,
        expressions={name: expression_targets(name) for name in EXPRESSIONS},
        examples=examples,
        opened=opened,
        most=MAX_INTENSITY,
        largest_file=LARGEST_FILE,
    )


def expression_targets(name: str) -> list[float | None]:
    """Return the AUs (17) that an expression puts on a face; None leaves one as the photograph shows it.

    It sets those that it consists of and takes `MARKS` of others away: a smile is no sad face. Neutral takes
    all away.
    """
    gone = AU_NUMBERS if name == "neutral" else MARKS
    pairs = zip(AU_NUMBERS, expression_aus(name), strict=True)
    return [float(au) if au > 0 or number in gone else None for number, au in pairs]


def describe(photograph: OpenPhotograph) -> dict[str, Any]:
    """Return what the page needs to know of a photograph; places are in pixels of the view."""
    height, width = photograph.pixels.shape[:2]
    view_height, view_width = photograph.view.shape[:2]
    parts = zip(photograph.view_faces, photograph.regions, photograph.aus, strict=True)
    return {
        "name": photograph.picture.name,
        "size": [width, height],
        "view": [view_width, view_height],
        "notes": photograph.notes,
        "faces": [{"box": face.box, "region": region, "aus": _known(aus)} for face, region, aus in parts],
    }


def _known(aus: np.ndarray) -> list[float | None]:
    return [round(float(value), 2) if np.isfinite(value) else None for value in aus]


def _index(asked: dict[str, Any], name: str, count: int) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise UserError(f"an edit has a {name}, a whole number below {count}")
    return value


def _file_name(request: Request) -> str:
    """Return the name of an upload, fit to be printed: it is not used for anything else."""
    given = request.query_params.get("name", "").replace("\\", "/").rpartition("/")[2]
    return printed(given)


def printed(name: str) -> str:
    """Return what of a file's name can be shown: letters that any page and terminal have."""
    return "".join(letter for letter in name if letter.isprintable())[-LONGEST_NAME:] or "the photograph"


async def _body(request: Request, largest: int) -> bytes:
    """Return the content of a request as it comes in, of at most `largest` bytes."""
    content = bytearray()
    try:
        with anyio.fail_after(UPLOAD_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > largest:
                    raise HTTPException(413, f"more than {largest >> 20} MiB: scale it down first")
    except TimeoutError:
        raise HTTPException(408, "the file did not arrive in time: try again") from None
    return bytes(content)


def _question(content: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(content)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise UserError("the question is not a JSON object")
    return asked


def _targets(asked: dict[str, Any], photograph: OpenPhotograph) -> Targets:
    """Return the AUs that a question asks for, by face; a `UserError` where they are none."""
    given = asked.get("targets")
    numbers = {str(number): number for number in range(len(photograph.faces))}
    if not isinstance(given, dict) or not set(given) <= set(numbers):
        raise UserError("targets are AUs by the number of a face of the photograph")
    try:
        return {numbers[face]: check_au_vector(aus) for face, aus in given.items()}
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"the AUs of a face are {AU_COUNT} numbers") from None


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _broken(request: Request, error: Exception) -> Response:
    """Answer where the program failed; starlette then lets the server log why."""
    return JSONResponse({"error": "the server failed at this: its terminal shows why"}, 500)
