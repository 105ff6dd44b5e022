"""The application."""

import logging
import os

from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig, SQLAlchemyPlugin
from litestar import Litestar

from .api import add_book, list_books, price_share


def create_app() -> Litestar:
    logging.basicConfig(level=logging.INFO)
    alchemy = SQLAlchemyAsyncConfig(
        connection_string=os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db"),
        before_send_handler="autocommit",
        create_all=True,
    )
    return Litestar(
        route_handlers=[add_book, list_books, price_share],
        plugins=[
            SQLAlchemyPlugin(config=alchemy),
        ],
    )
