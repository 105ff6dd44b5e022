"""Rolling updates of orders between releases with different migrations, as a deployment does them."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import orders
from starkeel_testing import Finished, Service, exits, wait_until

from ...support.orders import Customer

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{name}"
down_revision = "{before}"
{mark}

def upgrade() -> None:
    {upgrade}
"""


class Release:
    """A copy of the code of orders, with further revisions.

    Args:
        directory: Directory for the copy.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory
        (source,) = orders.__path__
        shutil.copytree(source, directory / "orders", ignore=shutil.ignore_patterns("__pycache__"))
        self._migrations = directory / "orders" / "migrations"

    def add(self, name: str, upgrade: str, *, mark: str = "") -> None:
        """Add a revision after the newest one."""
        before = max(path.stem for path in self._migrations.glob("0*.py"))
        text = REVISION.format(name=name, before=before, upgrade=upgrade, mark=mark)
        (self._migrations / f"{name}.py").write_text(text)


class Deployment:
    """Replicas of orders behind a load balancer, which sends requests to those in `urls`.

    Args:
        customer: Sends the requests.
        database_url: URL of their database.
    """

    def __init__(self, customer: Customer, database_url: str) -> None:
        self._customer = customer
        self._env = {"DATABASE_URL": database_url, "RUN_MIGRATIONS": "false", "DRAIN_DELAY_SECONDS": "1"}
        self._replicas: list[tuple[AbstractContextManager[Service], Service]] = []
        self.urls: list[str] = []

    def migrate(self, release: Release) -> Finished:
        """Run the init container of a pod."""
        return exits("orders", self._customer.env | self._env | {"PYTHONPATH": str(release.path)}, "migrate")

    def start(self, release: Release) -> Service:
        """Start a pod, and send requests to it when it is ready."""
        migrated = self.migrate(release)
        assert migrated.code == 0, migrated.output
        env = {name: value for name, value in self._env.items() if name != "DATABASE_URL"}
        context = self._customer.running_orders(
            self._env["DATABASE_URL"], PYTHONPATH=str(release.path), **env
        )
        service = context.__enter__()
        self._replicas.append((context, service))
        wait_until(lambda: service.client.get("/health/ready").status_code == 200, timeout_s=60)
        self.urls = [*self.urls, service.url]
        return service

    def stop_oldest(self) -> None:
        """Remove the oldest pod from the load balancer and end it."""
        context, service = self._replicas.pop(0)
        self.urls = [url for url in self.urls if url != service.url]
        context.__exit__(None, None, None)

    def roll(self, release: Release) -> list[Service]:
        """Replace every pod by one of a release."""
        services = []
        for _ in range(len(self._replicas)):
            services.append(self.start(release))
            self.stop_oldest()
        return services

    def stop(self) -> None:
        """End all pods."""
        while self._replicas:
            self.stop_oldest()


class Users:
    """Clients of a deployment, each of which sends one request after the other; nothing is retried.

    Args:
        deployment: The deployment.
        send: Sends a request with a client of a replica.
        count: Number of clients.

    Attributes:
        failures: Statuses and errors of the requests that failed.
    """

    def __init__(
        self, deployment: Deployment, send: Callable[[httpx2.Client], httpx2.Response], *, count: int
    ) -> None:
        self._deployment = deployment
        self._send = send
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for_responses(self, more: int) -> None:
        """Wait for further responses."""
        least = self.statuses.total() + more
        wait_until(lambda: self.statuses.total() >= least, timeout_s=90)

    def _run(self) -> None:
        number = 0
        while not self._is_over.is_set():
            urls = self._deployment.urls
            url = urls[number % len(urls)]
            number += 1
            # A connection for each request: a load balancer, not the client, decides where it goes.
            with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
                try:
                    response = self._send(client)
                except httpx2.TransportError as error:
                    self.failures.append(repr(error))
                    continue
            self.statuses[response.status_code] += 1
            if response.status_code >= 400:
                self.failures.append(f"{response.status_code} {response.text}")
                time.sleep(0.05)
