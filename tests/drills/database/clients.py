"""Concurrent clients of an orders service, and the statuses of their responses."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

import httpx2

from ...support.orders import Customer


class Clients:
    """Threads, each of which sends one request after the other.

    Args:
        url: Address of the service.
        send: Sends a request with a thread's client.
        count: Number of threads.

    Attributes:
        responses: Time of each response, in monotonic seconds, and its status; 0 for a failed connection.
        problems: Errors of failed connections.
    """

    def __init__(self, url: str, send: Callable[[httpx2.Client], httpx2.Response], *, count: int) -> None:
        self._url = url
        self._send = send
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        self.responses: list[tuple[float, int]] = []
        self.problems: list[str] = []

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def statuses(self) -> dict[int, int]:
        """Number of responses by status."""
        return dict(sorted(Counter(status for _, status in self.responses).items()))

    def first(self, status: int, *, since: float) -> float | None:
        """Return the time of the first response with a status, from a time on."""
        return min((at for at, found in self.responses if at >= since and found == status), default=None)

    def _run(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._is_over.is_set():
                try:
                    response = self._send(client)
                except httpx2.TransportError as error:
                    self.problems.append(repr(error))
                    self.responses.append((time.monotonic(), 0))
                    continue
                self.responses.append((time.monotonic(), response.status_code))
                if response.status_code >= 500:
                    # A short version of what `Retry-After` requests.
                    time.sleep(0.05)


class Writer:
    """Places orders, and retries each until it is acknowledged.

    Attributes:
        acknowledged: Ids of the acknowledged orders.
    """

    def __init__(self, customer: Customer) -> None:
        self._customer = customer
        self._thread = threading.local()
        self.acknowledged: list[str] = []

    def __call__(self, client: httpx2.Client) -> httpx2.Response:
        """Place an order, or retry the thread's last one if it was not acknowledged."""
        key = getattr(self._thread, "key", None) or uuid4().hex
        self._thread.key = key
        response = self._customer.place(client, key)
        if response.status_code == 201:
            self.acknowledged.append(str(response.json()["id"]))
            self._thread.key = None
        return response
