"""What every request to the demo must be, and what every answer of it says to the browser.

A server on this machine is in reach of every page that the browser has open. So it answers only where it was
asked by a name of this machine (a page elsewhere can point its own name here), and only what its own page
asks (a page elsewhere can send forms and fetch pictures).
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eggan import loopback

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",  # photographs stay in memory, in the browser too
}
READING = ("GET", "HEAD")
BODY_TYPES = ("application/octet-stream", "application/json")  # those that no form can send


class Guard:
    """Wraps an application: refuses what is not of its own page, and adds `HEADERS` to every answer."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._application(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        found = refusal(scope["method"], Headers(scope=scope))
        answer = self._application if found is None else JSONResponse({"error": found[1]}, found[0])
        return await answer(scope, receive, send_with_headers)


def refusal(method: str, headers: Headers) -> tuple[int, str] | None:
    """Return the status and the reason with which a request is refused, None where it is not."""
    host = headers.get("host", "")
    if _name(host) not in loopback.NAMES:
        return 421, "this server answers to this machine's own names alone, such as 127.0.0.1"
    if headers.get("origin", f"http://{host}") != f"http://{host}":
        return 403, "this server answers to its own page alone"
    asked_elsewhere = headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    followed_link = headers.get("sec-fetch-mode") == "navigate" and method in READING
    if asked_elsewhere and not followed_link:
        return 403, "this server answers to its own page alone"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in READING and kind not in BODY_TYPES:
        return 415, f"the content must be of the type {' or '.join(BODY_TYPES)}"
    return None


def _name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
