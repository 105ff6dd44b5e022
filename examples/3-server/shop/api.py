"""The endpoints."""

import logging
from decimal import Decimal

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Book, NewBook, SoldBook

logger = logging.getLogger(__name__)


@post("/books")
async def add_book(data: JSONBody[NewBook], db_session: NamedDependency[AsyncSession]) -> SoldBook:
    book = Book(title=data.title, price=data.price)
    db_session.add(book)
    await db_session.flush()
    logger.info("added %s", data.title)
    return SoldBook.model_validate(book)


@get("/books")
async def list_books(db_session: NamedDependency[AsyncSession]) -> list[SoldBook]:
    books = await db_session.scalars(select(Book).order_by(Book.title))
    return [SoldBook.model_validate(book) for book in books]


@get("/price-share/{copies:int}")
async def price_share(copies: FromPath[int], db_session: NamedDependency[AsyncSession]) -> dict[str, Decimal]:
    """Fail for 0 copies: an error that each step reports better."""
    prices = await db_session.scalars(select(Book.price))
    return {"share": sum(prices, Decimal(0)) / copies}
