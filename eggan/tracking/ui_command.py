"""`eggan ui`: the command line of `mlflow_ui`."""

import argparse
import sys
from typing import Any

from eggan.options import add_command, add_runs_argument, add_tracking_argument

EXAMPLES = """examples:
  eggan ui                                  http://127.0.0.1:5000 over runs/mlflow.db
  eggan ui --port 8080                      on another port, beside a second one
"""


def register(subparsers: Any) -> None:
    """Add `eggan ui`."""
    parser = add_command(subparsers, "ui", "serve the tracked runs in the MLflow UI", EXAMPLES)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=5000, help="port (default: 5000)")
    parser.add_argument(
        "--allowed-hosts",
        metavar="NAMES",
        help="names or addresses by which other machines may use the UI, with commas; for --host 0.0.0.0",
    )
    add_runs_argument(parser)
    add_tracking_argument(parser)
    parser.set_defaults(run=run_ui)


def run_ui(arguments: argparse.Namespace) -> int:
    """Serve the UI, or say where the server of a remote store is."""
    from eggan import tracking
    from eggan.tracking.mlflow_ui import check_port, open_to_others, serve

    uri = arguments.tracking_uri or tracking.default_uri(arguments.runs)
    if uri.startswith(("http://", "https://")):
        print(f"MLflow UI: {uri}")
        return 0
    check_port(arguments.host, arguments.port)
    for line in open_to_others(arguments.host, arguments.allowed_hosts):
        print(line, file=sys.stderr)
    uri = tracking.read_store(uri, arguments.runs).uri
    dead = tracking.close_dead([arguments.runs])
    if dead:
        tracking.sync(dead, tracking.open_store(uri, arguments.runs), arguments.runs)
    return serve(uri, arguments.runs, arguments.host, arguments.port, arguments.allowed_hosts)
