"""Where a tracking store is: what its URI may be, that it answers, and what its experiments are called.

MLflow itself finds some mistakes only after two minutes, and takes others for a database somewhere else.
"""

import os
import re
import socket
import textwrap
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from eggan.errors import UserError

EXPERIMENT = "eggan-benchmark"
SINGLE = "eggan-single"  # single trainings and studies are apart, so that no report mixes them
STUDIES = "eggan-studies"
EXPERIMENTS = (EXPERIMENT, SINGLE, STUDIES)
PROBE_SECONDS = 5.0
SQLITE = "sqlite:///"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
PROXY_PORTS = {"https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
SQLITE_OPTIONS = {"timeout", "check_same_thread", "cached_statements", "isolation_level", "detect_types"}
LINE_CHARACTERS = 300
FORMS = "use sqlite:///FILE, http://HOST:PORT or https://HOST"


def first_line(error: BaseException) -> str:
    """Return what an error says, on one line of bounded length."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return textwrap.shorten(line, LINE_CHARACTERS, placeholder=" ...") or type(error).__name__


def without_password(uri: str, in_its_place: str = ":***") -> str:
    """Return an address that may be shown and written down."""
    try:
        password = urlsplit(uri).password
    except ValueError:
        return uri
    return uri.replace(f":{password}@", f"{in_its_place}@") if password else uri


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite address, None for another kind of store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def check_named(uri: str | None) -> None:
    """Raise a `UserError` where `uri`, or without one MLFLOW_TRACKING_URI, is no store's address."""
    named = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        check_address(named)


def check_address(uri: str) -> None:
    """Raise a `UserError` for what is no address of a store, before anything is asked or created."""
    if re.search(r"[\x00-\x1f\x7f]|^\s|\s$", uri):
        raise UserError(f"the tracking URI {uri!r} holds a line break or other blank: take it out")
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  (reading it checks it)
    except ValueError as error:
        raise UserError(f"{without_password(uri)!r} is not a tracking URI ({error}): {FORMS}") from None
    kind = parts.scheme.partition("+")[0]
    if kind == "sqlite":
        _check_sqlite(uri, parts)
    elif kind not in PORTS or not uri.startswith(parts.scheme):
        raise UserError(f"{without_password(uri)!r} is not a tracking URI: {FORMS}")
    elif "%" in (parts.hostname or "") or (kind in ("http", "https") and not parts.hostname):
        raise UserError(f"{without_password(uri)!r} names no host: {FORMS}")
    elif kind in ("http", "https") and (parts.query or parts.fragment or uri[-1] in "?#"):
        raise UserError(f"{without_password(uri)!r} is no server's address: take out what begins with ? or #")
    elif kind in ("http", "https") and "%2f" in parts.path.lower():
        raise UserError(f"{without_password(uri)!r} holds the escape %2F: write a plain slash")


def _check_sqlite(uri: str, parts: SplitResult) -> None:
    if parts.netloc or (not uri.startswith(SQLITE) and uri != "sqlite://"):
        raise UserError(f"{uri!r} is not an SQLite file's address: use sqlite:///FILE, with three slashes")
    path, _, options = uri.removeprefix("sqlite://").removeprefix("/").partition("?")
    if path in ("", ":memory:") or path.startswith("file:"):
        raise UserError(f"{uri!r} is a store in memory, which keeps nothing: use sqlite:///FILE")
    known = {name for name, _ in parse_qsl(options, keep_blank_values=True)} <= SQLITE_OPTIONS
    escape = re.search("%[0-9A-Fa-f]{2}", path)
    if ("?" in uri and not known) or escape:
        sign = escape.group() if escape else "?"
        raise UserError(
            f"{uri!r}: the path of an SQLite store cannot hold {sign!r}: rename the folder or file"
        )


def check_answers(uri: str) -> None:
    """Raise an error within seconds where no server answers at an address.

    A server that the environment's proxy leads to is asked by MLflow alone: only the proxy must be there.
    """
    parts = urlsplit(uri)
    host, port = parts.hostname, parts.port or PORTS.get(parts.scheme.partition("+")[0], 80)
    if parts.scheme in ("http", "https"):
        from requests.utils import get_environ_proxies, select_proxy  # brings urllib3: a tenth of a second

        proxy = select_proxy(uri, get_environ_proxies(uri))  # none for a host that no_proxy names
        if proxy:
            proxy_parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            host, port = proxy_parts.hostname, proxy_parts.port or PROXY_PORTS.get(proxy_parts.scheme, 80)
    if host:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    if parts.scheme not in ("http", "https"):
        from sqlalchemy import create_engine  # only a database other than SQLite needs it here

        create_engine(uri).connect().close()  # MLflow asks a database that refuses for two minutes
