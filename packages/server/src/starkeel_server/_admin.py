"""The admin listener: metrics and the state of the workers, served by main.

It has a thread and an event loop of its own, so it answers while workers are stuck and while main migrates.
"""

import asyncio
import socket
from collections.abc import Callable
from threading import Thread
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

_MOST_HEAD_BYTES = 16 * 1024
_TIMEOUT_S = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}
_REASONS[503] = "Service Unavailable"


class Page(NamedTuple):
    """An answer."""

    status: int
    content_type: str
    body: bytes


Pages = dict[str, Callable[[str], Page]]
"""What makes each page, by path; given the request's `Accept`."""


def serve_admin(listener: socket.socket, pages: Pages) -> None:
    """Serve pages in a thread, for as long as the process lives.

    Args:
        listener: The listening socket.
        pages: The pages.
    """
    Thread(target=lambda: asyncio.run(_serve(listener, pages)), name="admin", daemon=True).start()


async def _serve(listener: socket.socket, pages: Pages) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, pages))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A client that is slow, gone or talks nonsense.
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener, limit=_MOST_HEAD_BYTES)
    await server.serve_forever()


def _response(head: bytes, pages: Pages) -> bytes:
    request, *lines = head.decode("latin-1").split("\r\n")
    words = request.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _encoded(_plain(400), is_head=False)
    method, target = words[0], words[1].partition("?")[0]
    page = _page(method, target, _accept(lines), pages)
    return _encoded(page, is_head=method == "HEAD")


def _page(method: str, target: str, accept: str, pages: Pages) -> Page:
    make = pages.get(target)
    if make is None:
        return _plain(404)
    if method not in {"GET", "HEAD"}:
        return _plain(405)
    try:
        return make(accept)
    except Exception:
        log.exception("admin page failed", path=target)
        return _plain(500)


def _accept(lines: list[str]) -> str:
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.lower() == "accept"), "")


def _plain(status: int) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{_REASONS[status]}\n".encode())


def _encoded(page: Page, *, is_head: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if page.status == 405 else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else page.body)
