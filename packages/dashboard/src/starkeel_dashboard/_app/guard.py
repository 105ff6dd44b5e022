"""Which requests are accepted, and the header fields of every response."""

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "starkeel-dashboard"
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = (
    (
        b"content-security-policy",
        _POLICY,
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_REFUSAL: Final = "The request was refused: "


class Guard:
    """Refuses requests that a page of another origin could have caused, and those without the token.

    Args:
        app: The application.
        token: Token that every request needs; empty on loopback, where the name of the host is checked.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, problem = self._judge(scope["method"], headers, scope["query_string"].decode("latin-1"))
        if problem:
            await _refuse(send, status, problem)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token and scope["method"] == "GET" and _equal(given, self._token):
            # So that the token does not stay in the address, the history and what is copied from them.
            await _redirect(send, scope["path"], self._token)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _judge(self, method: str, headers: dict[bytes, str], query: str) -> tuple[int, str]:
        """Return the status and the reason of a refusal; an empty reason if there is none."""
        host = headers.get(b"host", "")
        if not self._token and (urlsplit(f"//{host}").hostname or "") not in _LOOPBACK:
            # A name that leads to this machine may be another site's (DNS rebinding).
            return (
                403,
                f"the host is {host[:100]!r}, not localhost: open the URL that was printed at the start",
            )
        if method not in {"GET", "HEAD"} and not _is_same_origin(headers, host):
            return 403, "it comes from a page of another origin"
        if self._token and not self._has_token(headers, query):
            return 401, "it has no valid token: open the URL that was printed at the start, which contains it"
        return 200, ""

    def _has_token(self, headers: dict[bytes, str], query: str) -> bool:
        if has_bearer(headers.get(b"authorization", ""), self._token):
            return True
        if _equal(parse_qs(query).get("token", [""])[0], self._token):
            return True
        try:
            cookie = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, self._token)


def has_bearer(authorization: str, token: str) -> bool:
    """Return whether a field `Authorization` contains a token."""
    scheme, _, bearer = authorization.partition(" ")
    return scheme.lower() == "bearer" and _equal(bearer, token)


def _is_same_origin(headers: dict[bytes, str], host: str) -> bool:
    """Return whether no page of another origin sent a request; programs send neither of the fields."""
    origin = headers.get(b"origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    return headers.get(b"sec-fetch-site", "same-origin") in {"same-origin", "none"}


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


async def _refuse(send: Send, status: int, problem: str) -> None:
    body = f"{_REFUSAL}{problem}.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _redirect(send: Send, path: str, token: str) -> None:
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/".encode()
    # Two slashes would begin the name of a host.
    location = f"/{path.lstrip('/')}".encode("latin-1", errors="replace")
    headers = [(b"location", location), (b"set-cookie", cookie), (b"content-length", b"0"), *_HEADERS]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
