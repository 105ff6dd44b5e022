"""Tests of the application in the test's own process; no step of the guide changes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shop.app import create_app


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Litestar]]:
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    with TestClient(create_app()) as client:
        yield client


def test_a_book_that_was_added_is_listed(client: TestClient[Litestar]) -> None:
    added = client.post("/books", json={"title": "Dubliners", "price": "9.50"})

    assert (added.status_code, added.json()) == (201, {"title": "Dubliners", "price": "9.50"})
    assert client.get("/books").json() == [{"title": "Dubliners", "price": "9.50"}]


def test_a_book_needs_a_price(client: TestClient[Litestar]) -> None:
    assert client.post("/books", json={"title": "Dubliners"}).status_code == 400
