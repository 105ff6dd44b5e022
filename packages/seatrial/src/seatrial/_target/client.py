"""Polite requests: identified, counted, without redirects to other hosts."""

from collections.abc import Sequence
from importlib.metadata import version
from urllib.parse import urljoin, urlsplit

from .._run.budget import Budget
from .address import Address
from .exchange import Connector, Exchange, request_bytes
from .message import Response

_REDIRECTS = {301, 302, 303, 307, 308}
_FOLLOWED = 3
USER_AGENT = f"seatrial/{version('seatrial')}"


class Client:
    """Requests to one address.

    Args:
        connector: Opens its connections.
        budget: Counts each request.
    """

    def __init__(self, connector: Connector, budget: Budget) -> None:
        self._connector = connector
        self._budget = budget

    @property
    def address(self) -> Address:
        """The address."""
        return self._connector.address

    @property
    def timeout_s(self) -> float:
        """Seconds to wait for a response."""
        return self._connector.timeout_s

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Exchange:
        """Send a request on a connection of its own and return the exchange.

        Args:
            method: Method.
            path: Path and query, below the prefix of the address.
            headers: Headers besides `Host`, `User-Agent`, `Accept` and `Content-Length`.
            body: Body.

        Raises:
            OSError: No connection.
            BudgetExhausted: A limit is reached.
        """
        self._budget.spend_request()
        own = {name.lower() for name, _ in headers}
        usual = [("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close")]
        sent = [*(pair for pair in usual if pair[0].lower() not in own), *headers]
        data = request_bytes(method, f"{self.address.prefix}{path}", self.address.authority, sent, body)
        return self._connector.exchange(data, is_head=method == "HEAD")

    def get(self, path: str, *, headers: Sequence[tuple[str, str]] = ()) -> Response:
        """Send GET and return the response.

        Raises:
            OSError: No connection, or no response.
        """
        return response_of(self.send("GET", path, headers=headers))

    def get_following(self, path: str) -> tuple[str, Response]:
        """Send GET, follow redirects within the address, and return the last path and response."""
        response = self.get(path)
        for _ in range(_FOLLOWED):
            location = self._own_location(path, response)
            if location is None:
                break
            path, response = location, self.get(location)
        return path, response

    def _own_location(self, path: str, response: Response) -> str | None:
        if response.status not in _REDIRECTS or not response.get("location"):
            return None
        base = f"{self.address.scheme}://{self.address.authority}"
        prefix = self.address.prefix
        parts = urlsplit(urljoin(f"{base}{prefix}{path}", response.get("location")))
        is_own = f"{parts.scheme}://{parts.netloc}" == base and parts.path.startswith(f"{prefix}/")
        found = f"{parts.path[len(prefix) :]}{'?' + parts.query if parts.query else ''}"
        return found if is_own and found.isascii() and " " not in found else None

    def raw(self, data: bytes, *, expected_responses: int = 1, wait_for_close_s: float = 1.0) -> Exchange:
        """Send bytes unchanged on a connection of its own.

        Args:
            data: The bytes.
            expected_responses: Responses after which to wait for the close only.
            wait_for_close_s: Seconds to wait for it.
        """
        self._budget.spend_request()
        return self._connector.exchange(
            data, expected_responses=expected_responses, wait_for_close_s=wait_for_close_s
        )


def response_of(exchange: Exchange) -> Response:
    """Return the first response.

    Raises:
        OSError: The exchange has none.
    """
    responses = exchange.responses
    if not responses:
        state = "the server closed the connection" if exchange.is_closed else "timeout"
        first = exchange.sent.partition(b"\r\n")[0].decode("latin-1")[:80]
        raise OSError(f"no response to `{first}` ({state} after {exchange.seconds:.1f} s)")
    return responses[0]
