"""Requests as bytes, each with the section of the RFC that decides its response: RFC 9110, 9112 and 6455."""

from typing import NamedTuple

CHUNKED = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
ITEM = b'{"name":"a"}'


class Case(NamedTuple):
    """A request and its response.

    Attributes:
        closes: Whether the server closes the connection; `None` if Granian leaves it open and unused.
        headers: Headers of the response; `None` for one that it must not have.
        is_half_closed: Whether the client closes its side after the request.
    """

    section: str
    request: bytes
    status: int
    closes: bool | None = False
    headers: dict[str, str | None] = {}  # noqa: RUF012  (never changed)
    is_half_closed: bool = False


def request(method: str, target: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    host = () if any(line.lower().startswith("host:") for line in lines) else ("Host: sample",)
    head = [f"{method} {target} HTTP/{version}", *host, *lines, "X-Request-ID: @ID@", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def sized(method: str, target: str, *lines: str, body: bytes) -> bytes:
    return request(method, target, *lines, f"Content-Length: {len(body)}", body=body)


def get(target: str, *lines: str, **options: str) -> bytes:
    return request("GET", target, *lines, **options)  # type: ignore[arg-type]  # the version only


ALLOWED = "GET, HEAD, OPTIONS, PUT"

APPLICATION = [
    # Host
    Case("9112 3.2", get("/items/1", "Host: a", "Host: b"), 400),
    Case("9112 3.2", get("/items/1", "Host: a b"), 400),
    Case("9112 3.2", get("/items/1", "Host:"), 400),
    Case("9112 3.2", b"GET /items/1 HTTP/1.1\r\nX-Request-ID: @ID@\r\n\r\n", 400),
    Case("9112 3.2", b"GET /items/1 HTTP/1.0\r\nX-Request-ID: @ID@\r\n\r\n", 200, closes=True),
    # Request targets
    Case("9112 3.2.1", get("/items/1?a=//../%2f"), 200),
    Case("9112 3.2.2", get("http://sample/items/1"), 200),
    Case("9112 3.2.2", get("http://sample"), 200),
    Case("9112 3.2.3", get("sample:80"), 400),
    Case("9112 3.2.3", request("CONNECT", "sample:80"), 501),
    Case(
        "9112 3.2.4",
        request("OPTIONS", "*"),
        204,
        headers={"allow": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
    ),
    Case("9112 3.2.4", get("*"), 400),
    # Paths that proxies read differently
    Case("9110 4.2.3", get("//items/1"), 400),
    Case("9110 4.2.3", get("/items//1"), 400),
    Case("9110 4.2.3", get("/items/1//"), 400),
    Case("9110 4.2.3", get("/./items/1"), 400),
    Case("9110 4.2.3", get("/a/../items/1"), 400),
    Case("9110 4.2.3", get("/a/..;/items/1"), 400),
    Case("9110 4.2.3", get("/a/%2e%2E/items/1"), 400),
    Case("9110 4.2.3", get("/a/.%2e;x=1/items/1"), 400),
    Case("9110 4.2.3", get("/names/.."), 400),
    Case("9110 4.2.3", get("/names/..."), 200),
    Case("9110 4.2.3", get("/names/.hidden"), 200),
    Case("9110 4.2.3", get("/items%2F1"), 400),
    Case("9110 4.2.3", get("/names/a%2fb"), 400),
    Case("9110 4.2.3", get("/names/a%5Cb"), 400),
    Case("9110 4.2.3", get("/names/a\\b"), 400),
    Case("9110 4.2.3", get("/names/%00"), 400),
    Case("9110 4.2.3", get("/names/a%0d%0ab"), 400),
    Case("9110 4.2.3", get("/names/%7f"), 400),
    Case("9110 4.2.3", get("/names/%ff"), 400),
    Case("9110 4.2.3", get("/names/%c0%ae"), 400),
    Case("9110 4.2.3", get("/names/%zz"), 400),
    Case("9110 4.2.3", get("/names/caf\u00c3\u00a9"), 400),
    Case("9110 4.2.3", get("/names/caf%c3%a9"), 200),
    Case("9110 4.2.3", get("/names/a%20b%25"), 200),
    Case("9110 4.2.3", get("/names/%7Ename"), 200),
    Case("9110 4.2.3", get("/names/a;b=c"), 200),
    Case("9110 4.2.3", get("/%69tems/1"), 404),
    Case("9110 4.2.3", get("/names/1/%73ize"), 404),
    Case("9110 4.2.3", get("/names/1/size"), 200),
    Case("9110 4.2.3", get("/items/1;a=b"), 404),
    Case("9110 4.2.3", get("/items/1/"), 404),
    Case("9110 4.2.3", request("DELETE", "/items/1/"), 404),
    Case("9110 4.2.3", get("/ITEMS/1"), 404),
    Case("9110 4.2.3", get("/health/live/"), 404),
    Case("9110 4.2.3", get("/files/a/b/"), 200),
    Case("9110 4.2.3", get("/files//b"), 400),
    Case("9110 4.2.3", get("/%66iles/b"), 404),
    Case("9110 4.2.3", get("/"), 200),
    # Methods
    Case("9110 9.1", request("BREW", "/items/1"), 501),
    Case("9110 9.1", request("get", "/items/1"), 501),
    Case("9110 9.1", request("A" * 300, "/items/1"), 501),
    Case(
        "9110 9.3.2",
        request("HEAD", "/items/1"),
        200,
        headers={"content-length": "12", "content-type": "application/json"},
    ),
    Case("9110 9.3.2", request("HEAD", "/nowhere"), 404),
    Case("9110 9.3.2", request("HEAD", "/nothing"), 204, headers={"content-length": None}),
    Case("9110 9.3.2", request("HEAD", "/stream"), 200),
    Case(
        "9110 9.3.2",
        request("HEAD", "/events"),
        200,
        headers={"content-type": "text/event-stream; charset=utf-8"},
    ),
    Case("9110 9.3.2", request("HEAD", "/health/live"), 200),
    Case("9110 9.3.2", request("HEAD", "/schema/openapi.json"), 200),
    Case("9110 9.3.2", request("HEAD", "/items"), 405, headers={"allow": "OPTIONS, POST"}),
    Case(
        "9110 9.3.7", request("OPTIONS", "/items/1"), 204, headers={"allow": ALLOWED, "content-length": None}
    ),
    Case("9110 9.3.7", request("OPTIONS", "/nowhere"), 404),
    Case("9110 9.3.8", request("TRACE", "/items/1"), 501),
    Case("9110 15.5.6", request("DELETE", "/items/1"), 405, headers={"allow": ALLOWED}),
    Case("9110 15.5.6", request("PUT", "/names/a"), 405, headers={"allow": "GET, HEAD, OPTIONS"}),
    # Upgrade
    Case("9110 7.8", get("/items/1", "Connection: Upgrade", "Upgrade: h2c"), 200),
    Case("9110 15.5.22", get("/socket"), 426, headers={"upgrade": "websocket", "connection": "Upgrade"}),
    Case("6455 4.2.2", get("/nowhere", *HANDSHAKE), 403, closes=None),
    Case("6455 4.2.2", get("/items/1", *HANDSHAKE), 403, closes=None),
    Case("6455 4.2.2", get("/a/../socket", *HANDSHAKE), 403, closes=None),
    # Bodies
    Case(
        "9112 6.1",
        request("POST", "/raw", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        501,
        closes=True,
    ),
    Case("9112 6.1", request("POST", "/raw", CHUNKED, body=b"1\r\na\r\n0\r\n\r\n"), 201),
    Case("9112 6.3", request("POST", "/raw", "Content-Length: 1", "Content-Length: 1", body=b"a"), 201),
    Case("9112 6.3", sized("POST", "/raw", CHUNKED, body=b"0\r\n\r\n"), 201, closes=True),
    Case("9112 7.1", request("POST", "/raw", CHUNKED, body=b"5\r\nhelloXX0\r\n\r\n"), 400, closes=True),
    Case("9112 7.1", request("POST", "/raw", CHUNKED, body=b"zz\r\n"), 400, closes=True),
    Case("9112 7.1", request("POST", "/items", JSON, CHUNKED, body=b"zz\r\n"), 400, closes=True),
    Case("9112 7.1", request("POST", "/forms", FORM, CHUNKED, body=b"zz\r\n"), 400, closes=True),
    Case("9112 7.1", request("POST", "/slow-raw", CHUNKED, body=b"zz\r\n"), 400, closes=True),
    Case("9112 7.1", request("POST", "/raw", CHUNKED, body=b"fffffffffffffffff\r\na"), 400, closes=True),
    Case("9112 7.1.1", request("POST", "/raw", CHUNKED, body=b"1;a=b\r\na\r\n0\r\n\r\n"), 201),
    Case("9112 7.1.2", request("POST", "/raw", CHUNKED, body=b"1\r\na\r\n0\r\nX: y\r\n\r\n"), 201),
    Case(
        "9112 7.1.2", request("POST", "/raw", CHUNKED, body=b"1\r\na\r\n0\r\nX y\r\n\r\n"), 400, closes=True
    ),
    Case(
        "9112 8",
        request("POST", "/raw", "Content-Length: 9", body=b"a"),
        400,
        closes=True,
        is_half_closed=True,
    ),
    Case(
        "9112 8",
        request("POST", "/items", JSON, "Content-Length: 9", body=b"{"),
        400,
        closes=True,
        is_half_closed=True,
    ),
    Case(
        "9112 8",
        request("POST", "/slow-raw", "Content-Length: 9", body=b"a"),
        400,
        closes=True,
        is_half_closed=True,
    ),
    Case("9112 8", request("POST", "/raw", CHUNKED, body=b"5\r\nhel"), 400, closes=True, is_half_closed=True),
    Case(
        "9112 8",
        request("POST", "/unread", "Content-Length: 9", body=b"a"),
        200,
        closes=True,
        is_half_closed=True,
    ),
    # Content
    Case(
        "9110 8.4",
        sized("POST", "/items", JSON, "Content-Encoding: gzip", body=ITEM),
        415,
        headers={"accept-encoding": "identity"},
    ),
    Case("9110 8.4", sized("POST", "/items", JSON, "Content-Encoding: identity", body=ITEM), 201),
    Case(
        "9110 15.5.16",
        sized("POST", "/items", "Content-Type: text/plain", body=ITEM),
        415,
        headers={"accept": "application/json"},
    ),
    Case("9110 15.5.16", sized("POST", "/items", FORM, body=ITEM), 415),
    Case(
        "9110 15.5.16",
        sized("POST", "/items", "Content-Type: application/json; charset=latin-1", body=ITEM),
        415,
    ),
    Case("9110 15.5.16", sized("POST", "/items", "Content-Type: nonsense", body=ITEM), 415),
    Case(
        "9110 15.5.16",
        sized("POST", "/items", "Content-Type: application/json; Charset=UTF-8", body=ITEM),
        201,
    ),
    Case(
        "9110 15.5.16", sized("POST", "/items", "Content-Type: application/merge-patch+json", body=ITEM), 201
    ),
    Case("9110 8.3", sized("POST", "/items", body=ITEM), 201),
    Case("9110 15.5.16", sized("POST", "/forms", FORM, body=b"a=b"), 201),
    Case(
        "9110 15.5.16",
        sized("POST", "/forms", JSON, body=b"{}"),
        415,
        headers={"accept": "application/x-www-form-urlencoded"},
    ),
    # Expectations
    Case("9110 10.1.1", sized("POST", "/raw", "Expect: something", body=b"a"), 417),
    Case("9110 10.1.1", sized("POST", "/raw", "Expect: 100-Continue", body=b"a"), 201),
    # Applications that do not follow the rules
    *(
        Case("9110 15", get(f"/broken/{name}"), 500)
        for name in (
            *("header-value", "header-name", "header-text", "status-1000", "status-99", "status-text"),
            *("nothing", "start-only", "body-first", "twice"),
        )
    ),
    Case("9110 5.5", get("/header/a%c4%80"), 500),
    Case("9110 15", get("/broken-stream"), 500),
    # Responses
    Case("9110 8.6", get("/nothing"), 204, headers={"content-length": None, "transfer-encoding": None}),
    Case("9110 15.3.6", get("/reset"), 205, headers={"content-length": "0"}),
    Case("9112 6.1", get("/stream", version="1.0"), 200, closes=True, headers={"transfer-encoding": None}),
    Case("9112 6.1", get("/stream"), 200, headers={"transfer-encoding": "chunked"}),
    Case("9112 9.3", get("/items/1", "Connection: close"), 200, closes=True),
    Case(
        "9112 9.3",
        get("/items/1", "Connection: keep-alive", version="1.0"),
        200,
        headers={"connection": "keep-alive"},
    ),
    Case("9112 2.2", b"\r\n" + get("/items/1"), 200),
]

SERVER = [
    Case("9112 2.2", get("/items/1", "X: a\rb"), 400, closes=True),
    Case("9112 2.3", get("/items/1", version="2.0"), 400, closes=True),
    Case("9112 2.3", b"GET /items/1\r\n\r\n", 400, closes=True),
    Case("9112 3", request("GE T", "/items/1"), 400, closes=True),
    Case("9112 3", get("/names/\0"), 400, closes=True),
    Case("9112 3", get("/names/" + "a" * 66_000), 414, closes=True),
    Case("9112 3", get("/names/caf\u00e9"), 400, closes=True),
    Case("9112 3.2", get("items/1"), 400, closes=True),
    Case("9112 3.2", get("?a"), 400, closes=True),
    Case("9112 5", get("/items/1", *(f"X-{n}: a" for n in range(150))), 431, closes=True),
    Case("9112 5", get("/items/1", "X: " + "a" * 200_000), 431, closes=True),
    Case("9112 5.1", get("/items/1", "X : a"), 400, closes=True),
    Case("9112 5.2", get("/items/1", "X: a\r\n b"), 400, closes=True),
    Case("9110 5.5", get("/items/1", "X: a\0b"), 400, closes=True),
    Case("9112 6.1", request("POST", "/raw", "Transfer-Encoding: gzip", body=b"a"), 400, closes=True),
    Case("9112 6.1", request("POST", "/raw", CHUNKED, version="1.0", body=b"0\r\n\r\n"), 400, closes=True),
    Case(
        "9112 6.3",
        request("POST", "/raw", "Content-Length: 1", "Content-Length: 2", body=b"a"),
        400,
        closes=True,
    ),
    Case("9112 6.3", request("POST", "/raw", "Content-Length: 1, 1", body=b"a"), 400, closes=True),
    Case("9112 6.3", request("POST", "/raw", "Content-Length: +1", body=b"a"), 400, closes=True),
    Case("6455 4.2.1", get("/socket", *HANDSHAKE[:2]), 400),
    Case("6455 4.2.1", get("/socket", *HANDSHAKE[:3], "Sec-WebSocket-Version: 8"), 400),
]
"""Requests that Granian's HTTP library answers itself: the application never receives them."""


def names(cases: list[Case]) -> list[str]:
    lines = [case.request.lstrip().split(b"\r\n")[0].decode("latin-1")[:40] for case in cases]
    return [
        f"{number}-{case.section}-{line}"
        for number, (case, line) in enumerate(zip(cases, lines, strict=True))
    ]
