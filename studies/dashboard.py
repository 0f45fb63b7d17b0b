"""`eggan study dashboard`: optuna-dashboard over one study's storage, on localhost, until Ctrl-C."""

from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from eggan.errors import UserError
from eggan.signals import stop_as_interrupt
from studies.storage.study_storage import open_study

INSTALL = "optuna-dashboard is not installed: pip install 'eggan[dashboard]'"
HOST = "127.0.0.1"


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per request: the page asks for several things at once."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Says nothing of requests."""

    def log_message(self, format: str, *args: Any) -> None:
        """Drop a line of the access log."""


def dashboard_app(folder: Path, storage: str | None) -> Callable[..., Any]:
    """Return the WSGI application over a study's storage; a missing package is a `UserError`."""
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise UserError(INSTALL) from None
    return wsgi(open_study(folder, storage)._storage)


def only_local(app: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse requests under another name: a page elsewhere that lets its name mean this machine could delete
    the study, since the dashboard asks for no password.
    """

    def guarded(environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        if environment.get("HTTP_HOST", "").partition(":")[0] in (HOST, "localhost"):
            return app(environment, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard is for this machine only"]

    return guarded


def serve(folder: Path, storage: str | None, port: int) -> int:
    """Serve the dashboard until interrupted, and return 0; a port in use is a `UserError`."""
    app = only_local(dashboard_app(folder, storage))
    try:
        server = make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {HOST}:{port} ({error}): choose another --port") from None
    with server, stop_as_interrupt():
        print(
            f"optuna-dashboard: http://{HOST}:{server.server_port}/dashboard  (Ctrl-C stops it)", flush=True
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0
