"""A process that handles events, and prints the time of each after as many as its input states."""

import asyncio
import json
import logging
import sys
import time
from functools import partial

import structlog
import uvloop
from sqlalchemy import BigInteger, Column, Table, text
from starkeel_db import after_commit
from starkeel_messaging import EventContext, on_event

from .sample import MADE, Made, Sample

_WRITE = text("INSERT INTO effects (number) VALUES (:number)")
_handled: dict[int, float] = {}


def _note(number: int) -> None:
    _handled[number] = time.time()


@on_event("publisher", MADE, batch=50)
async def handle(context: EventContext, event: Made) -> None:
    """Write a row, and note when it is committed."""
    await context.session.execute(_WRITE, {"number": event.number})
    after_commit(context.session, partial(_note, event.number))


async def main(url: str, broker: str) -> None:
    """Handle as many events as a line of the standard input states."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sample = Sample(url, broker, handle)
    Table("effects", sample.metadata, Column("number", BigInteger))
    await sample.create_tables()
    async with sample.app.lifespan():
        sys.stdout.write("running\n")
        sys.stdout.flush()
        count = int(await asyncio.to_thread(sys.stdin.readline))
        while len(_handled) < count:  # noqa: ASYNC110 - counted in handlers
            await asyncio.sleep(0.05)
        sys.stdout.write(f"{json.dumps(_handled)}\n")
        sys.stdout.flush()
        # The caller measures this process before it ends.
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
