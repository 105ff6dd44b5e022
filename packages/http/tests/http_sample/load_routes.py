"""Handlers whose capacity is small, and ones that only wait."""

import asyncio
import time

from litestar import get, post
from starkeel_http import load_group, load_priority

COMPUTES_S = 0.01
POOL, QUERY_S = 2, 0.02

_pool = asyncio.Semaphore(POOL)


def _compute() -> str:
    until = time.thread_time() + COMPUTES_S
    while time.thread_time() < until:
        pass
    return "computed"


@get("/compute")
async def compute() -> str:
    return _compute()


@post("/compute")
async def compute_write() -> str:
    return _compute()


@get("/compute/low", opt=load_priority("low"))
async def compute_low() -> str:
    return _compute()


@get("/pooled", opt=load_group("pooled"))
async def pooled() -> str:
    async with _pool:
        await asyncio.sleep(QUERY_S)
    return "queried"


@get("/waiting", opt=load_group("waiting"))
async def waiting() -> str:
    await asyncio.sleep(0.03)
    return "waited"


LOAD_HANDLERS = [compute, compute_low, compute_write, pooled, waiting]
