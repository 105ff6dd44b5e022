"""Load over real sockets: requests on new connections and on kept ones are counted apart."""

import contextlib
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from .._target.address import Address
from .._target.message import Response, parse_responses

_PAUSE_S = 0.002
_RESPONSE_S = 10.0


class Outcome(StrEnum):
    """End of an attempt to get a response."""

    ANSWERED = "answered"
    REFUSED = "connection refused"
    CUT = "closed without a complete response"
    TIMEOUT = "no response in time"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request of the load.

    Attributes:
        at: Time at which it began, as of `time.monotonic`.
        outcome: Its end.
        status: Status of the response, 0 without one.
        ended_at: Time of its end.
        is_last: Whether the response announced the end of the connection.
    """

    at: float
    outcome: Outcome
    status: int
    ended_at: float
    is_last: bool = False

    def __str__(self) -> str:
        return str(self.status or self.outcome)


def receive_response(connection: socket.socket, deadline: float) -> Response | None:
    """Return the next complete response of a connection, or None if it ends before.

    Raises:
        TimeoutError: It is incomplete at the deadline.
    """
    received = b""
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            part = connection.recv(65536)
        except (ConnectionError, BrokenPipeError):
            part = b""
        received += part
        responses = parse_responses(received, is_closed=not part)
        if responses and responses[0].is_complete:
            return responses[0]
        if not part:
            return None


class Load:
    """Clients that repeat a request until they are stopped, or until nothing answers any more.

    Args:
        address: The service.
        new_request: Request with `Connection: close`.
        kept_request: The same, for connections that are kept.
        clients: Clients of each kind.
        response_s: Seconds to wait for a response.
    """

    def __init__(
        self,
        address: Address,
        new_request: bytes,
        kept_request: bytes,
        *,
        clients: int,
        response_s: float = _RESPONSE_S,
    ) -> None:
        self._address = address
        self._response_s = response_s
        self._requests = new_request, kept_request
        self._is_stopped = threading.Event()
        self.new: list[Attempt] = []
        self.kept: list[Attempt] = []
        self.is_reused = False
        """Whether the service has kept a connection for a second request."""
        targets = [self._run_new] * clients + [self._run_kept] * clients
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]

    def start(self) -> None:
        """Start the clients."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the clients, and wait for their last response."""
        self._is_stopped.set()
        for thread in self._threads:
            thread.join()

    def abandon(self) -> None:
        """Stop the clients without waiting for responses."""
        self._is_stopped.set()

    def _run_new(self) -> None:
        while not self._is_stopped.wait(_PAUSE_S):
            at = time.monotonic()
            try:
                connection = socket.create_connection((self._address.ip, self._address.port), _RESPONSE_S)
            except OSError:
                self.new.append(Attempt(at, Outcome.REFUSED, 0, time.monotonic()))
                continue
            with contextlib.closing(connection):
                self.new.append(_request(connection, self._requests[0], at, self._response_s))

    def _run_kept(self) -> None:
        while not self._is_stopped.wait(_PAUSE_S):
            try:
                connection = socket.create_connection((self._address.ip, self._address.port), _RESPONSE_S)
            except OSError:
                # Counted by the clients with new connections.
                continue
            with contextlib.closing(connection):
                is_first = True
                while not self._is_stopped.wait(_PAUSE_S) and not _is_ended(connection):
                    attempt = _request(connection, self._requests[1], time.monotonic(), self._response_s)
                    if not is_first or attempt.outcome is Outcome.ANSWERED:
                        self.kept.append(attempt)
                    self.is_reused |= not is_first
                    is_first = False
                    if attempt.outcome is not Outcome.ANSWERED or attempt.is_last:
                        break


def _request(connection: socket.socket, request: bytes, at: float, response_s: float) -> Attempt:
    try:
        connection.sendall(request)
        response = receive_response(connection, at + response_s)
    except TimeoutError:
        return Attempt(at, Outcome.TIMEOUT, 0, time.monotonic())
    except OSError:
        response = None
    if response is None:
        return Attempt(at, Outcome.CUT, 0, time.monotonic())
    return Attempt(at, Outcome.ANSWERED, response.status, time.monotonic(), ends_connection(response))


def ends_connection(response: Response) -> bool:
    """Return whether the server closes the connection after a response."""
    option = response.get("connection").lower()
    return "close" in option or (response.head.startswith("HTTP/1.0") and "keep-alive" not in option)


def _is_ended(connection: socket.socket) -> bool:
    """Return whether the server has announced the end of an idle connection."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def summary(attempts: list[Attempt]) -> str:
    """Return the number of attempts by result."""
    counts = Counter(map(str, attempts))
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())) or "none"
