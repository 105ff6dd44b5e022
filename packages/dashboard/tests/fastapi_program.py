"""A FastAPI program, which `opentelemetry-instrument` instruments."""

import logging

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    """Return an item."""
    logging.getLogger("shop").warning("item was read")
    return {"number": number}
