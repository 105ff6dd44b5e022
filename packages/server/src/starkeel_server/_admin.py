"""The admin listener: metrics, the state of the workers and pages for operators, served by main.

It has a thread and an event loop of its own, so it answers while workers are stuck and while main migrates.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import structlog

from ._peers import is_local

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


class Page(NamedTuple):
    """An answer."""

    status: int
    content_type: str
    body: bytes


class Asked(NamedTuple):
    """A request for a page; names of headers are in lower case, of several alike the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str
    body: bytes


class Offer(NamedTuple):
    """A page, who may see it, and what may be done with it."""

    answer: Callable[[Asked], Page | Awaitable[Page]]
    is_private: bool = False
    methods: frozenset[str] = _READING


Offers = Mapping[str, Offer]
"""The pages that there are, by path."""


def serve_admin(listener: socket.socket, offers: Offers) -> None:
    """Serve pages in a thread, for as long as the process lives.

    Args:
        listener: The listening socket.
        offers: The pages.
    """
    Thread(target=lambda: asyncio.run(_serve(listener, offers)), name="admin", daemon=True).start()


async def _serve(listener: socket.socket, offers: Offers) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                peer = writer.get_extra_info("peername")
                writer.write(await _response(reader, peer[0] if peer else "", offers))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A client that is slow, gone or talks nonsense.
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener, limit=_MOST_HEAD_BYTES)
    await server.serve_forever()


async def _response(reader: asyncio.StreamReader, peer: str, offers: Offers) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    words = request.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _encoded(plain(400))
    path, _, query = words[1].partition("?")
    asked = Asked(words[0], path, dict(parse_qsl(query)), _headers(lines), peer, b"")
    offer = offers.get(path)
    refusal = _refusal(asked, offer)
    if offer is None or refusal is not None:
        page = refusal or plain(404)
    else:
        page = await _page(reader, asked, offer)
    return _encoded(page, is_head=asked.method == "HEAD", allowed=offer.methods if offer else _READING)


def _refusal(asked: Asked, offer: Offer | None) -> Page | None:
    if offer is None:
        return plain(404)
    if offer.is_private and not is_local(asked.peer, asked.headers):
        return plain(403)
    return None if asked.method in offer.methods else plain(405)


async def _page(reader: asyncio.StreamReader, asked: Asked, offer: Offer) -> Page:
    size = asked.headers.get("content-length", "0")
    if not (size.isascii() and size.isdigit()):
        return plain(400)
    if len(size) > _MOST_DIGITS or int(size) > _MOST_BODY_BYTES:
        return plain(413)
    if asked.method not in _READING:
        asked = asked._replace(body=await reader.readexactly(int(size)))
    try:
        page = offer.answer(asked)
        return page if isinstance(page, Page) else await page
    except Exception:
        log.exception("admin page failed", path=asked.path)
        return plain(500)


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def plain(status: int, text: str = "") -> Page:
    """An answer in words.

    Args:
        status: Of the answer.
        text: What is said; what the status means unless given.
    """
    return Page(status, "text/plain; charset=utf-8", f"{text or _REASONS[status]}\n".encode())


def json_page(status: int, content: Any) -> Page:
    """An answer as JSON.

    Args:
        status: Of the answer.
        content: What is said.
    """
    import msgspec

    return Page(status, "application/json", msgspec.json.encode(content, enc_hook=str) + b"\n")


def _encoded(page: Page, *, is_head: bool = False, allowed: frozenset[str] = _READING) -> bytes:
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
