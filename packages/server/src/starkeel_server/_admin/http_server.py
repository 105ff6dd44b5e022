"""The admin listener: metrics, the state of the workers and pages for operators, served by main.

It has a thread and an event loop of its own, so it answers while workers are stuck and while main migrates.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import structlog

log = structlog.get_logger(__name__)

_MOST_HEAD_BYTES: Final = 16 * 1024
_MOST_BODY_BYTES: Final = 16 * 1024
_MOST_DIGITS: Final = 9
_TIMEOUT_S: Final = 5.0
_READING: Final = frozenset({"GET", "HEAD"})
_REASONS: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_FORWARDED: Final = frozenset(
    [
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-real-ip",
    ]
)
"""What proxies add: behind one on this machine everybody would come from this machine."""


class AdminResponse(NamedTuple):
    """An answer."""

    status: int
    content_type: str
    body: bytes


class AdminRequest(NamedTuple):
    """A request for a page; names of headers are in lower case, of several alike the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str
    body: bytes


class Endpoint(NamedTuple):
    """A page, who may see it, and what may be done with it."""

    answer: Callable[[AdminRequest], AdminResponse | Awaitable[AdminResponse]]
    is_private: bool = False
    methods: frozenset[str] = _READING


Endpoints = Mapping[str, Endpoint]
"""The pages that there are, by path."""


def serve_admin(listener: socket.socket, endpoints: Endpoints) -> None:
    """Serve pages in a thread, for as long as the process lives.

    Args:
        listener: The listening socket.
        endpoints: The pages.
    """
    Thread(target=lambda: asyncio.run(_serve(listener, endpoints)), name="admin", daemon=True).start()


async def _serve(listener: socket.socket, endpoints: Endpoints) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                peer = writer.get_extra_info("peername")
                writer.write(await _response(reader, peer[0] if peer else "", endpoints))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A client that is slow, gone or talks nonsense.
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener, limit=_MOST_HEAD_BYTES)
    await server.serve_forever()


async def _response(reader: asyncio.StreamReader, peer: str, endpoints: Endpoints) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    words = request.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _encoded(text_response(400))
    path, _, query = words[1].partition("?")
    asked = AdminRequest(words[0], path, dict(parse_qsl(query)), _headers(lines), peer, b"")
    endpoint = endpoints.get(path)
    refusal = _refusal(asked, endpoint)
    if endpoint is None or refusal is not None:
        page = refusal or text_response(404)
    else:
        page = await _page(reader, asked, endpoint)
    return _encoded(page, is_head=asked.method == "HEAD", allowed=endpoint.methods if endpoint else _READING)


def _refusal(asked: AdminRequest, endpoint: Endpoint | None) -> AdminResponse | None:
    if endpoint is None:
        return text_response(404)
    if endpoint.is_private and not is_local(asked.peer, asked.headers):
        return text_response(403)
    return None if asked.method in endpoint.methods else text_response(405)


async def _page(reader: asyncio.StreamReader, asked: AdminRequest, endpoint: Endpoint) -> AdminResponse:
    size = asked.headers.get("content-length", "0")
    if not (size.isascii() and size.isdigit()):
        return text_response(400)
    if len(size) > _MOST_DIGITS or int(size) > _MOST_BODY_BYTES:
        return text_response(413)
    if asked.method not in _READING:
        asked = asked._replace(body=await reader.readexactly(int(size)))
    try:
        page = endpoint.answer(asked)
        return page if isinstance(page, AdminResponse) else await page
    except Exception:
        log.exception("admin page failed", path=asked.path)
        return text_response(500)


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def text_response(status: int, text: str = "") -> AdminResponse:
    """An answer in words.

    Args:
        status: Of the answer.
        text: What is said; what the status means unless given.
    """
    return AdminResponse(status, "text/plain; charset=utf-8", f"{text or _REASONS[status]}\n".encode())


def json_response(status: int, content: Any) -> AdminResponse:
    """An answer as JSON.

    Args:
        status: Of the answer.
        content: What is said.
    """
    import msgspec

    return AdminResponse(status, "application/json", msgspec.json.encode(content, enc_hook=str) + b"\n")


def _encoded(page: AdminResponse, *, is_head: bool = False, allowed: frozenset[str] = _READING) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *([f"Allow: {', '.join(sorted(allowed))}"] if page.status == 405 else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else page.body)


def is_local(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether whoever asks is on this machine, or in this pod, and asks by himself.

    Decided by the socket's address alone; headers can only take it back. Among them is `Host`: a web page
    whose name was made to point here afterwards (DNS rebinding) would have a browser on this machine ask.

    Args:
        peer: Address at the other end of the connection.
        headers: Of the request, by their lower-case names.
    """
    address = _address(peer)
    if address is None or not address.is_loopback:
        return False
    return _FORWARDED.isdisjoint(headers) and _is_by_address(headers.get("host", ""))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # How IPv4 looks on a socket that takes both.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _is_by_address(host: str) -> bool:
    if not host:
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _address(name) is not None
