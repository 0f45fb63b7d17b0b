"""This machine's own servers are never asked through a proxy, whatever the environment says of proxies."""

import os
import urllib.request

NAMES = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def exempt_from_proxies() -> None:
    """Add this machine to `no_proxy`, for this process and those that it starts."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if known.strip() == "*":
        return
    listed = [name.strip() for name in known.split(",") if name.strip()]
    names = ",".join([*listed, *(name for name in NAMES if name not in listed)])
    os.environ |= {"no_proxy": names, "NO_PROXY": names}


def url(host: str, port: int, path: str = "") -> str:
    """Return the address at which this machine reaches its own server that listens on `host`."""
    name = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/{path}"
