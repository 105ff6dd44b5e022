"""Whom a request is from, when it comes through proxies."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network
from math import isfinite

from litestar.enums import ScopeType
from litestar.types import Scope

from .._base.addresses import Network, parse_address
from .forwarded import Hop, client_hop, parse_forwarded, parse_x_forwarded


class TrustedProxies:
    """The proxies that are believed.

    Args:
        networks: Where they are.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self.trusts = lru_cache(4096)(self._trusts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def is_trusted_peer(self, scope: Scope) -> bool:
        """Whether the peer at the other end of the socket is one of them."""
        client = scope.get("client")
        return client is not None and self.trusts(client[0])

    def apply(self, scope: Scope) -> None:
        """Write into the scope whom a request that one of them sent is from, and by which scheme."""
        hop = self._hop(scope)
        if hop is None or hop.address is None:
            return
        # The port of a client behind a proxy is nobody's business.
        scope["client"] = (hop.address, 0)
        if hop.scheme is not None:
            secure = hop.scheme == "https"
            if scope["type"] == ScopeType.WEBSOCKET:
                scope["scheme"] = "wss" if secure else "ws"
            else:
                scope["scheme"] = hop.scheme

    def _hop(self, scope: Scope) -> Hop | None:
        standard, usual, schemes = (
            _joined(scope, name) for name in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto")
        )
        by_standard = client_hop(parse_forwarded(standard) or (), self.trusts) if standard else None
        by_usual = client_hop(parse_x_forwarded(usual, schemes) or (), self.trusts) if usual else None
        if standard and usual:
            # A proxy writes one and hands the other on as the client made it up. Which is which, nobody can
            # tell when they differ.
            agree = by_standard and by_usual and by_standard.address == by_usual.address
            return by_standard if agree else None
        return by_standard or by_usual

    def _trusts(self, host: str) -> bool:
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)


def parse_timeout(value: bytes) -> float | None:
    """Read an `X-Request-Timeout`: seconds; None when it is no positive number."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None


def _joined(scope: Scope, name: bytes) -> str:
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
