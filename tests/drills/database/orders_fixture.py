"""What the drills share: accounts, somebody who orders, and orders on a database of the drill's own."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from starkeel_testing import Service, running

CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}


class Shop:
    """Somebody known to accounts, and what orders needs to serve her.

    Attributes:
        headers: Hers.
        env: Of an orders, but for its database.
    """

    def __init__(self, accounts: Service) -> None:
        assert accounts.client.post("/api/users", json=CREDENTIALS).status_code == 201
        token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}
        self.env = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "RATE_LIMIT_ORDER_CREATION": "10000/second",
        }

    @contextmanager
    def serving(self, database_url: str, **env: str) -> Iterator[Service]:
        """Run an orders."""
        with running("orders", self.env | {"DATABASE_URL": database_url} | env, timeout_s=90) as service:
            yield service

    def place(self, client: httpx2.Client, key: str | None = None) -> httpx2.Response:
        """Place an order, with a key of its own if none is given."""
        headers = self.headers | {"Idempotency-Key": key or uuid4().hex}
        return client.post("/api/orders", json={"product_type": "anchor", "quantity": 1}, headers=headers)

    def look(self, client: httpx2.Client) -> httpx2.Response:
        """List the newest order."""
        return client.get("/api/orders", params={"limit": 1}, headers=self.headers)

    def orders(self, client: httpx2.Client) -> list[str]:
        """Every order there is."""
        found: list[str] = []
        answer = client.get("/api/orders", params={"limit": 100}, headers=self.headers)
        while True:
            found += [order["id"] for order in answer.json()["items"]]
            if "next" not in answer.links:
                return found
            answer = client.get(answer.links["next"]["url"], headers=self.headers)


@contextmanager
def shop(directory: Path) -> Iterator[Shop]:
    """Run an accounts with one user."""
    with running("accounts", {"DATABASE_URL": f"sqlite:///{directory}/accounts.db"}) as accounts:
        yield Shop(accounts)


class Load:
    """So many clients, each of which asks again as soon as it is answered.

    Args:
        url: Where.
        ask: What each does with its client.
        clients: How many.

    Attributes:
        answers: When each answer came, in monotonic seconds, and its status; 0 for none.
    """

    def __init__(self, url: str, ask: Callable[[httpx2.Client], httpx2.Response], *, clients: int) -> None:
        self._url = url
        self._ask = ask
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self.answers: list[tuple[float, int]] = []
        self.problems: list[str] = []

    def __enter__(self) -> "Load":
        """Start asking."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more, and wait for the answers that are due."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers there were of each status."""
        return dict(sorted(Counter(status for _, status in self.answers).items()))

    def between(self, since: float, until: float) -> dict[int, int]:
        """How many answers of each status came between two moments."""
        return dict(sorted(Counter(status for at, status in self.answers if since <= at < until).items()))

    def _run(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._is_over.is_set():
                try:
                    answer = self._ask(client)
                except httpx2.TransportError as error:
                    self.problems.append(repr(error))
                    self.answers.append((time.monotonic(), 0))
                    continue
                self.answers.append((time.monotonic(), answer.status_code))
                if answer.status_code >= 500:
                    # As a client does that was told `Retry-After`, but less patient.
                    time.sleep(0.05)


class Writer:
    """Places orders and sends each until it is acknowledged, whatever happens meanwhile.

    Attributes:
        acknowledged: Orders that were.
    """

    def __init__(self, ada: Shop) -> None:
        self._ada = ada
        self._mine = threading.local()
        self.acknowledged: list[str] = []

    def __call__(self, client: httpx2.Client) -> httpx2.Response:
        """Send once; the same again, if it was not acknowledged."""
        key = getattr(self._mine, "key", None) or uuid4().hex
        self._mine.key = key
        answer = self._ada.place(client, key)
        if answer.status_code == 201:
            self.acknowledged.append(str(answer.json()["id"]))
            self._mine.key = None
        return answer


@contextmanager
def together(*contexts: Any) -> Iterator[list[Any]]:
    """Enter all of them."""
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in contexts]


def told(capsys: Any, drill: str, **figures: object) -> None:
    """Print a drill's figures, whatever happens to other output."""
    shown: Mapping[str, object] = {name.replace("_", " "): value for name, value in figures.items()}
    with capsys.disabled():
        sys.stdout.write(
            f"\n{drill}: " + ", ".join(f"{name} {value}" for name, value in shown.items()) + "\n"
        )
