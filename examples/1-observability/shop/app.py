"""The application."""

import os

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar
from starkeel_config import load
from starkeel_observability import ObservabilityPlugin

from .api import add_book, list_books, price_share
from .settings import Settings


def create_app() -> Litestar:
    settings = load(Settings, os.environ, service="shop")
    alchemy = SQLAlchemyAsyncConfig(
        connection_string=os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db"),
        before_send_handler="autocommit",
        create_all=True,
    )
    return Litestar(
        route_handlers=[add_book, list_books, price_share],
        plugins=[
            ObservabilityPlugin(settings.observability, metrics_path="/metrics"),
            SQLAlchemyPlugin(config=alchemy),
        ],
    )
