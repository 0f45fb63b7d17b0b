"""`eggan demo`: the command line of the demo's server."""

import argparse
from pathlib import Path
from typing import Any

from eggan.options import add_command
from eggan.progress import loading

EXAMPLES = """examples:
  eggan demo                                prints an address of this machine to open in a browser
  eggan demo --photograph portrait.jpg      with this photograph
"""


def register(subparsers: Any) -> None:
    """Add `eggan demo`."""
    parser = add_command(
        subparsers, "demo", "a page with sliders for the face in a photograph, on this machine", EXAMPLES
    )
    parser.add_argument("--photograph", type=Path, metavar="FILE", help="a photograph to open with")
    parser.add_argument("--port", type=int, default=0, help="port (default: one that is free)")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Serve the page until interrupted, and return 0."""
    with loading():
        from eggan.demo.serving import listening, make_analyst, photograph_at, serve

    with listening(arguments.port) as listener:
        photograph = photograph_at(arguments.photograph) if arguments.photograph else None
        return serve(make_analyst(), photograph, listener)
