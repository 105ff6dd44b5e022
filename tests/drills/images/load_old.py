"""Load as a load balancer sends it: on kept and on new connections, until the service is not ready."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
from starkeel_testing import wait_until

_POLL_S = 0.2
_CLIENTS = 8


@dataclass
class Load:
    """Clients in a thread of their own, each with one request under way.

    Failed is a request that was sent before the service was seen not ready and got no complete answer, or an
    error. Nothing is sent twice.

    Args:
        url: Where the service is.
        path: What is asked for.
        headers: Sent with each request.
        asks_readiness: Whether to stop when `/health/ready` is not 200 any more; else at `finish`.
    """

    url: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    asks_readiness: bool = True
    sent: int = 0
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    told_to_close: int = 0
    _is_over: bool = False

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def wait_for(self, answers: int) -> None:
        """Wait for that many more answers."""
        least = self.answered + answers
        wait_until(lambda: self.answered >= least or self._is_over, timeout_s=90, what=lambda: self.summary)
        assert not self._is_over, self.summary

    def finish(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._is_over = True
        self.join()

    def join(self) -> None:
        """Wait until it has ended, by itself as well."""
        self._thread.join(60)
        assert not self._thread.is_alive(), self.summary

    @property
    def summary(self) -> str:
        """The figures in a line."""
        return (
            f"sent {self.sent}, answered {self.answered}, failed {len(self.failures)}, "
            f"told to close {self.told_to_close}; {self.failures[:3]}"
        )

    async def _run(self) -> None:
        limits = httpx2.Limits(max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS)
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=30, trust_env=False, limits=limits) as kept,
            asyncio.TaskGroup() as group,
        ):
            for number in range(_CLIENTS):
                # A quarter opens a connection for each request.
                group.create_task(self._client(kept, closes=number % 4 == 0))
            if self.asks_readiness:
                group.create_task(self._watch())

    async def _watch(self) -> None:
        async with httpx2.AsyncClient(base_url=self.url, timeout=5, trust_env=False) as client:
            while not self._is_over:
                try:
                    answer = await client.get("/health/ready", headers={"Connection": "close"})
                except httpx2.TransportError:
                    break
                if answer.status_code != 200:
                    break
                await asyncio.sleep(_POLL_S)
        self._is_over = True

    async def _client(self, client: httpx2.AsyncClient, *, closes: bool) -> None:
        headers = dict(self.headers) | ({"Connection": "close"} if closes else {})
        while not self._is_over:
            self.sent += 1
            try:
                answer = await client.get(self.path, headers=headers)
            except httpx2.TransportError as error:
                self.failures.append(repr(error))
                continue
            self.answered += 1
            self.told_to_close += not closes and answer.headers.get("connection", "").lower() == "close"
            if answer.status_code >= 400:
                self.failures.append(f"{answer.status_code} {answer.text[:200]}")
