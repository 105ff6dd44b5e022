"""Tables and the data of requests and responses."""

from decimal import Decimal

from advanced_alchemy.base import UUIDBase
from pydantic import BaseModel, Field
from sqlalchemy import Numeric
from sqlalchemy.orm import Mapped, mapped_column


class Book(UUIDBase):
    __tablename__ = "books"

    title: Mapped[str] = mapped_column(unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))


class NewBook(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    price: Decimal = Field(gt=0, max_digits=10, decimal_places=2)


class SoldBook(NewBook):
    model_config = {"from_attributes": True}
