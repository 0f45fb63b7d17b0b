"""Serving the demo: what is loaded before it answers, the address it listens on, and how it ends."""

import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from eggan import loopback
from eggan.demo.photographs import Analyst
from eggan.demo.server import LARGEST_FILE, DemoServer, Example, printed
from eggan.edit import EXAMPLE_PHOTOGRAPH
from eggan.edit.editing import load_shipped_model
from eggan.errors import UserError
from eggan.evaluation.landmark_reader import load_landmark_reader
from eggan.method import MethodEntry
from eggan.signals import stop_as_interrupt
from eggan.warp import ENTRY

ADDRESS = "127.0.0.1"
CONNECTIONS = 64
STOP_SECONDS = 2  # for answers that are under way


def make_analyst() -> Analyst:
    """Return what the demo opens photographs with: the shipped EGGAN-W and the landmark reader."""
    return Analyst(load_shipped_model(_entry, "cpu"), load_landmark_reader())


def serve(analyst: Analyst, photograph: Example | None, listener: socket.socket) -> int:
    """Serve the page until interrupted, and return 0; a `photograph` without a face is a `UserError`."""
    examples = [*([photograph] if photograph else []), *shipped_examples()]
    analyst.open(examples[0].name, examples[0].content).warm_up()
    server = uvicorn.Server(configured(DemoServer(analyst, examples, 0 if photograph else None)))
    address = loopback.url(*listener.getsockname())
    print(f"open {address} in a browser  (Ctrl-C stops it)", flush=True)
    # The server ends at any signal, and passes it on: to nobody where a shell in the background ignores it.
    with suppress(KeyboardInterrupt), stop_as_interrupt():
        server.run(sockets=[listener])
    print("stopped")
    return 0


def configured(server: DemoServer) -> uvicorn.Config:
    """Return how a server is run: one that says nothing of itself, and no more than there is room for."""
    return uvicorn.Config(
        server.application(),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def listening(port: int) -> socket.socket:
    """Return a socket of this machine alone; port 0 takes a free one, a port in use is a `UserError`."""
    listener = socket.socket(socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen()  # who reads the address may ask at once
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"cannot listen on {ADDRESS}:{port} ({error}): choose another --port") from None
    return listener


def photograph_at(path: Path) -> Example:
    """Return a file of the user's; a missing or oversized one is a `UserError`."""
    if not path.is_file():
        raise UserError(f"no such photograph: {path}")
    with path.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path} is larger than {LARGEST_FILE >> 20} MiB: scale it down first")
    return Example(printed(path.name), content)


def shipped_examples() -> list[Example]:
    """Return the photographs that come with the package."""
    return [photograph_at(EXAMPLE_PHOTOGRAPH)]


def _entry(name: str) -> MethodEntry:
    if name != ENTRY.name:
        raise UserError(f"the shipped weights are of {name}: install the package again")
    return ENTRY
