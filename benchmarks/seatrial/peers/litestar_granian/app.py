"""Items on Litestar with its own plugins: JWT, Prometheus, problem details, structlog, CORS."""

import asyncio
import os
from dataclasses import dataclass

from litestar import Litestar, Request, get, post
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.plugins.structlog import StructlogPlugin
from litestar.security.jwt import JWTAuth, Token


@dataclass
class Item:
    name: str
    quantity: int


items: list[Item] = []


async def user_of(token: Token, connection: ASGIConnection) -> str:
    return token.sub


auth = JWTAuth[str](
    retrieve_user_handler=user_of,
    token_secret=os.environ["JWT_SECRET"],
    accepted_audiences=["shop"],
    exclude=["/health", "/metrics", "/schema", "/slow", "/endless", "/error"],
)


@get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@get("/items")
async def read_items(request: Request) -> list[Item]:
    return items


@post("/items")
async def create_item(data: Item) -> Item:
    items.append(data)
    return data


@get("/slow")
async def slow() -> str:
    await asyncio.sleep(2)
    return "done"


@get("/endless")
async def endless() -> str:
    await asyncio.sleep(3600)
    return "done"


@get("/error")
async def error() -> str:
    raise RuntimeError("a fault of the program")


app = Litestar(
    route_handlers=[health, read_items, create_item, slow, endless, error, PrometheusController],
    middleware=[PrometheusConfig().middleware],
    cors_config=CORSConfig(allow_origins=[os.environ["ORIGIN"]]),
    on_app_init=[auth.on_app_init],
    plugins=[
        StructlogPlugin(),
        ProblemDetailsPlugin(ProblemDetailsConfig(enable_for_all_http_exceptions=True)),
    ],
)
