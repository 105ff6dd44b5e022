"""Where a request carries its token."""

from itertools import pairwise
from typing import Any

from litestar.connection import ASGIConnection, WebSocket
from litestar.enums import ScopeType
from litestar.types import Message, Send

from ._errors import TokenError

SUBPROTOCOL = "bearer"

Connection = ASGIConnection[Any, Any, Any, Any]


def token_of(connection: Connection) -> str | None:
    """Return the bearer token of a request; None when it carries none.

    It stands in `Authorization: Bearer TOKEN`. A browser cannot set that header for a WebSocket, but it can
    offer subprotocols: `new WebSocket(url, ["bearer", TOKEN])`. Never in the query string, which ends up in
    logs and histories.

    Raises:
        TokenError: There are several, or it is no text a token could be.
    """
    found = [
        credentials.strip()
        for value in connection.headers.getall("authorization", [])
        for scheme, _, credentials in [value.strip().partition(" ")]
        if scheme.lower() == "bearer"
    ]
    if connection.scope["type"] == ScopeType.WEBSOCKET:
        found += _offered(connection)
    if len(found) > 1:
        raise TokenError("there is more than one token")
    return found[0] if found else None


def accept_subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    """See to it that accepting the socket selects `bearer`, where it was offered, unless the handler selects.

    A browser fails the connection when none of the subprotocols it offered is selected.
    """
    if _offered(socket):
        socket.send = _selecting(socket.send)


def _selecting(send: Send) -> Send:
    async def selecting(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = SUBPROTOCOL
        await send(message)

    return selecting


def _offered(socket: Connection) -> list[str]:
    """The tokens among the offered subprotocols: each follows the word `bearer`."""
    lines = socket.headers.getall("sec-websocket-protocol", [])
    offered = [part.strip() for line in lines for part in line.split(",")]
    return [token for word, token in pairwise(offered) if word == SUBPROTOCOL]
