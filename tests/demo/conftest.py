"""A demo that is served, for tests: the shipped model, the shipped reader and the example photograph."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import uvicorn
from PIL import Image

from eggan.demo.photographs import Analyst
from eggan.demo.server import DemoServer, Example
from eggan.demo.serving import configured, listening, make_analyst, shipped_examples

BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Served:
    """A server that runs in a thread."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask once; `headers` have _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def upload(self, name: str, content: bytes, path: str = "/photographs") -> Answer:
        return self.ask("POST", f"{path}?name={quote(name)}", content, content_type=BYTES)

    def question(self, path: str, **asked: Any) -> Answer:
        return self.ask("POST", path, json.dumps(asked), content_type="application/json")


def serve(server: DemoServer) -> Iterator[Served]:
    """Serve in a thread until the generator is closed."""
    with listening(0) as listener:
        running = uvicorn.Server(configured(server))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Served(listener.getsockname()[1])
        finally:
            running.should_exit = running.force_exit = True  # without waiting for connections left open
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def analyst() -> Analyst:
    return make_analyst()


@pytest.fixture(scope="session")
def example() -> Example:
    return shipped_examples()[0]


@pytest.fixture(scope="session")
def portrait(example: Example) -> Image.Image:
    """The example as a picture."""
    import io

    return Image.open(io.BytesIO(example.content)).convert("RGB")


@pytest.fixture(scope="session")
def face(portrait: Image.Image) -> Image.Image:
    """Its face, 200 pixels wide."""
    return portrait.crop((125, 25, 325, 225))


@pytest.fixture(scope="module")  # other modules' tests set the clock by which it would notice its end
def served(analyst: Analyst, example: Example) -> Iterator[Served]:
    yield from serve(DemoServer(analyst, [example]))


@pytest.fixture
def opened(served: Served) -> Any:
    """The example, opened: what the page is told of it."""
    answer = served.ask("POST", "/examples/0/open", content_type=BYTES)
    assert answer.status == 201
    return answer.json


@pytest.fixture
def smile() -> list[float]:
    aus = np.zeros(17)
    aus[[5, 8, 14, 15]] = 3, 4, 4, 3
    return aus.tolist()
