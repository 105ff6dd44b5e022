"""The layer that settles the client's address behind trusted proxies, before all others read it."""

from typing import Final

from starkeel_asgi import Exchange, LayerOrder

from .proxies import TrustedProxies


class ClientAddress:
    """Sets client and scheme of requests that a trusted proxy forwards.

    Args:
        proxies: The trusted proxies.
    """

    order: Final = LayerOrder.CLIENT_ADDRESS

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies

    def begin(self, exchange: Exchange) -> None:
        """Take the client from the forwarding headers, if the peer is trusted."""
        if self._proxies.is_trusted_peer(exchange.scope):
            exchange.is_peer_trusted = True
            self._proxies.apply(exchange.scope)
            exchange.refresh()

    def end(self, _exchange: Exchange, _error: BaseException | None) -> None:
        """Do nothing."""
