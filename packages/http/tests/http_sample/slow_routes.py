import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from litestar import Request, WebSocket, get, websocket
from litestar.response import ServerSentEvent, Stream
from starkeel_http import request_timeout

log = structlog.get_logger("http_sample")


async def _sleep(name: str, seconds: float) -> str:
    log.info("sleeping", name=name)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        log.info("cancelled", name=name)
        raise
    finally:
        log.info("cleaned up", name=name)
    return "slept"


@get("/slow")
async def slow() -> str:
    return await _sleep("slow", 60)


@get("/short", opt=request_timeout(0.1))
async def short() -> str:
    return await _sleep("short", 60)


@get("/long", opt=request_timeout(60))
async def long(request: Request[Any, Any, Any]) -> str:
    return await _sleep("long", 1.5)


@get("/swallows-cancellation")
async def swallows_cancellation() -> str:
    try:
        await asyncio.sleep(60)
    except BaseException:  # noqa: BLE001
        log.info("cancellation swallowed")
    return "late"


@get("/raises-when-cancelled")
async def raises_when_cancelled() -> str:
    try:
        await asyncio.sleep(60)
    except BaseException as error:
        raise RuntimeError("raised while cancelled") from error
    return "late"


@get("/half")
async def half() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"half"
        await _sleep("half", 60)

    return Stream(chunks, headers={"Content-Length": "100"})


@get("/events")
async def events(request: Request[Any, Any, Any]) -> ServerSentEvent:
    async def ticks() -> AsyncGenerator[str]:
        yield str(request.scope["state"].get("deadline"))
        await asyncio.sleep(1.5)
        yield str(request.scope["state"].get("deadline"))

    return ServerSentEvent(ticks())


@get("/deadline")
async def deadline(request: Request[Any, Any, Any]) -> float:
    import time

    return float(request.scope["state"]["deadline"]) - time.monotonic()


@websocket("/socket")
async def socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
    await socket.accept()
    await asyncio.sleep(1.5)
    await socket.send_text(str("deadline" in socket.scope["state"]))
    await socket.close()


SLOW_HANDLERS = [
    deadline,
    events,
    half,
    long,
    raises_when_cancelled,
    short,
    slow,
    socket,
    swallows_cancellation,
]
