"""A registered user of accounts, and orders services that she uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx2
from starkeel_testing import Service, running

from .accounts import sign_in

NEEDED_SERVICES = ("accounts", "orders")


class Customer:
    """A registered user.

    Attributes:
        headers: Headers with her access token.
        env: Environment of an orders service, without its database.
    """

    def __init__(self, accounts: Service) -> None:
        self._accounts = accounts
        self.headers = sign_in(accounts.client)
        self.env = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "RATE_LIMIT_ORDER_CREATION": "10000/second",
            "RATE_LIMIT_ORDER_READING": "10000/second",
            "RATE_LIMIT_ORDER_CHANGES": "10000/second",
        }

    def another(self) -> "Customer":
        """Register another user of the same accounts."""
        return Customer(self._accounts)

    @contextmanager
    def running_orders(self, database_url: str, **env: str) -> Iterator[Service]:
        """Run an orders service."""
        with running("orders", self.env | {"DATABASE_URL": database_url} | env, timeout_s=90) as service:
            yield service

    def place(self, client: httpx2.Client, key: str | None = None) -> httpx2.Response:
        """Place an order, with a new idempotency key by default."""
        headers = self.headers | {"Idempotency-Key": key or uuid4().hex}
        return client.post("/api/orders", json={"product_type": "anchor", "quantity": 1}, headers=headers)

    def latest(self, client: httpx2.Client) -> httpx2.Response:
        """List her newest order."""
        return client.get("/api/orders", params={"limit": 1}, headers=self.headers)

    def order_ids(self, client: httpx2.Client) -> list[str]:
        """Return the ids of all her orders, the newest first."""
        found: list[str] = []
        page = client.get("/api/orders", params={"limit": 100}, headers=self.headers)
        while True:
            found += [order["id"] for order in page.json()["items"]]
            if "next" not in page.links:
                return found
            page = client.get(page.links["next"]["url"], headers=self.headers)


@contextmanager
def registered_customer(directory: Path) -> Iterator[Customer]:
    """Run an accounts service with one user."""
    # Each order that is placed reads the user's profile.
    env = {"DATABASE_URL": f"sqlite:///{directory}/accounts.db", "RATE_LIMIT_PROFILE": "10000/second"}
    with running("accounts", env) as accounts:
        yield Customer(accounts)
