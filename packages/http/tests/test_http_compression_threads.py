"""Large bodies are compressed by threads."""

import asyncio
import gzip
from collections.abc import Callable
from threading import Event
from typing import Any

import brotli
import pytest
from backports import zstd
from litestar import Litestar, get
from starkeel_http import HttpPlugin, HttpSettings
from starkeel_http._compression import encoders

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "br": brotli.decompress,
}


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
async def test_the_event_loop_runs_while_a_large_body_is_compressed(
    coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"line {number * 7919 % 10_007}\n" for number in range(400_000))
    compressing, turned = Event(), Event()

    def waiting(size: int | None) -> Callable[[bytes, bool], bytes]:
        compress = made(size)

        def step(part: bytes, is_last: bool) -> bytes:
            compressing.set()
            # On the event loop, this would wait until the timeout.
            assert turned.wait(30)
            return compress(part, is_last)

        return step

    made = encoders._STREAMS[coding]
    monkeypatch.setitem(encoders._STREAMS, coding, waiting)

    @get("/large", media_type="text/plain")
    async def large() -> str:
        return text

    async def count_turns() -> None:
        while not compressing.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0)
        turned.set()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    app = Litestar([large], plugins=[HttpPlugin(HttpSettings(compression_codings=("zstd", "gzip", "br")))])
    headers = [(b"host", b"x"), (b"accept-encoding", coding.encode())]
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/large",
        "raw_path": b"/large",
        "headers": headers,
    }
    scope |= {"query_string": b"", "client": ("192.0.2.1", 5), "root_path": "", "server": ("127.0.0.1", 80)}
    async with app.lifespan(), asyncio.TaskGroup() as group:
        counting = group.create_task(count_turns())
        await app(scope | {"scheme": "http", "http_version": "1.1", "state": {}}, receive, send)
        await counting

    assert DECODERS[coding](sent[1]["body"]) == text.encode()
