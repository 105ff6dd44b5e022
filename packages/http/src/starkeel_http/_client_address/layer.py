"""The layer that sets the client's address behind trusted proxies, before all others read it."""

from collections.abc import Iterable
from typing import Final

from litestar.enums import ScopeType
from litestar.types import Scope
from starkeel_asgi import Exchange, LayerOrder

from .._base.addresses import Network, membership
from .forwarded import Hop, client_hop, parse_forwarded, parse_x_forwarded


class ClientAddress:
    """Sets client and scheme of requests that a trusted proxy forwards.

    Args:
        networks: Addresses of the proxies.
    """

    order: Final = LayerOrder.CLIENT_ADDRESS

    def __init__(self, networks: Iterable[Network]) -> None:
        self.is_trusted = membership(networks)

    def begin(self, exchange: Exchange) -> None:
        """Take the client from the forwarding headers, if the peer is trusted."""
        client = exchange.client
        if client is None or not self.is_trusted(client):
            return
        exchange.is_from_proxy = True
        scope = exchange.scope
        hop = self._client_hop(scope)
        if hop is None or hop.address is None:
            return
        # Proxies do not report the client's port.
        scope["client"] = (hop.address, 0)
        if hop.scheme is not None:
            is_websocket, is_secure = scope["type"] == ScopeType.WEBSOCKET, hop.scheme == "https"
            scope["scheme"] = ("wss" if is_secure else "ws") if is_websocket else hop.scheme
        exchange.refresh()

    def end(self, _exchange: Exchange, _error: BaseException | None) -> None:
        """Do nothing."""

    def _client_hop(self, scope: Scope) -> Hop | None:
        forwarded, x_forwarded, schemes = (
            _joined(scope, name) for name in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto")
        )
        hop = client_hop(parse_forwarded(forwarded) or (), self.is_trusted)
        x_hop = client_hop(parse_x_forwarded(x_forwarded, schemes) or (), self.is_trusted)
        if forwarded and x_forwarded:
            # A proxy sets one header and passes the other on as the client sent it. If they differ, it is
            # unknown which is forged.
            return hop if hop and x_hop and hop.address == x_hop.address else None
        return hop or x_hop


def _joined(scope: Scope, name: bytes) -> str:
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
