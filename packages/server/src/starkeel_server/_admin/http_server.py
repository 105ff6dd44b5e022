"""HTTP server of the admin port: metrics, status of the workers and operator endpoints.

It runs in the main process with a thread and an event loop of its own, so that it answers while workers are
blocked and while migrations run.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
import structlog

log = structlog.get_logger(__name__)

_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_BODY_BYTES: Final = 16 * 1024
_MAX_DIGITS: Final = 9
_TIMEOUT_S: Final = 5.0
_READ_METHODS: Final = frozenset({"GET", "HEAD"})
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {413: "Content Too Large"}
_PROXY_HEADERS: Final = frozenset([
    "cf-connecting-ip", "forwarded", "true-client-ip", "via", "x-client-ip", "x-forwarded-for",
    "x-forwarded-host", "x-forwarded-proto", "x-forwarded-server", "x-original-forwarded-for", "x-real-ip",
])  # fmt: skip
"""Headers added by proxies: requests through a proxy on this machine also come from a loopback address."""


class AdminResponse(NamedTuple):
    status: int
    content_type: str
    body: bytes
    allow: frozenset[str] = frozenset()


class AdminRequest(NamedTuple):
    """A request; header names are in lower case, the last of repeated headers counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str
    body: bytes


class Endpoint(NamedTuple):
    """A handler, what it returns, whether only clients on this machine may call it, and its methods."""

    handle: Callable[[AdminRequest], AdminResponse | Awaitable[AdminResponse]]
    title: str
    is_private: bool = False
    methods: frozenset[str] = _READ_METHODS


Endpoints = Mapping[str, Endpoint]


def serve_admin(listener: socket.socket, endpoints: Endpoints) -> None:
    """Serve endpoints by path in a thread until the process ends."""
    Thread(target=lambda: asyncio.run(_serve(listener, endpoints)), name="admin", daemon=True).start()


async def _serve(listener: socket.socket, endpoints: Endpoints) -> None:
    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                peer = writer.get_extra_info("peername")
                writer.write(await _respond(reader, peer[0] if peer else "", endpoints))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The client is slow, gone, or does not send HTTP.
            return
        finally:
            writer.close()

    server = await asyncio.start_server(on_connect, sock=listener, limit=_MAX_HEAD_BYTES)
    await server.serve_forever()


async def _respond(reader: asyncio.StreamReader, peer: str, endpoints: Endpoints) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _encode(text_response(400))
    path, _, query = words[1].partition("?")
    request = AdminRequest(words[0], path, dict(parse_qsl(query)), _parse_headers(lines), peer, b"")
    endpoint = endpoints.get(path)
    if endpoint is None:
        response = text_response(404)
    elif endpoint.is_private and not is_local(peer, request.headers):
        response = text_response(403)
    elif request.method not in endpoint.methods:
        response = text_response(405)._replace(allow=endpoint.methods)
    else:
        response = await _call(reader, request, endpoint)
    return _encode(response, is_head=request.method == "HEAD")


async def _call(reader: asyncio.StreamReader, request: AdminRequest, endpoint: Endpoint) -> AdminResponse:
    size = request.headers.get("content-length", "0")
    if not (size.isascii() and size.isdigit()):
        return text_response(400)
    if len(size) > _MAX_DIGITS or int(size) > _MAX_BODY_BYTES:
        return text_response(413)
    if request.method not in _READ_METHODS:
        request = request._replace(body=await reader.readexactly(int(size)))
    try:
        response = endpoint.handle(request)
        return response if isinstance(response, AdminResponse) else await response
    except Exception:
        log.exception("admin request failed", path=request.path)
        return text_response(500)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def text_response(status: int) -> AdminResponse:
    return AdminResponse(status, "text/plain; charset=utf-8", f"{_REASONS[status]}\n".encode())


def json_response(status: int, content: Any) -> AdminResponse:
    return AdminResponse(status, "application/json", msgspec.json.encode(content, enc_hook=str) + b"\n")


def _encode(response: AdminResponse, *, is_head: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *([f"Allow: {', '.join(sorted(response.allow))}"] if response.allow else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if is_head else response.body)


def is_local(peer: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request comes directly from this machine or pod.

    The address of the socket decides; headers can only revoke it. `Host` is checked as well: with DNS
    rebinding, a web page can make a browser on this machine send the request.
    """
    address = _parse_address(peer)
    if address is None or not address.is_loopback or not _PROXY_HEADERS.isdisjoint(headers):
        return False
    host = headers.get("host", "localhost")
    # Without the port; an IPv6 address is in brackets.
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return not host or name.lower() == "localhost" or _parse_address(name) is not None


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # The form of IPv4 addresses on a dual-stack socket.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
