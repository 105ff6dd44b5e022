"""Client address and scheme of requests that come through trusted proxies."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network
from math import isfinite

from litestar.enums import ScopeType
from litestar.types import Scope

from .._base.addresses import Network, parse_address
from .forwarded import Hop, client_hop, parse_forwarded, parse_x_forwarded


class TrustedProxies:
    """Proxies whose forwarding headers are trusted.

    Args:
        networks: Their addresses.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._trusts = lru_cache(4096)(self._is_in_networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def is_trusted_peer(self, scope: Scope) -> bool:
        """Return whether the peer of the connection is a trusted proxy."""
        client = scope.get("client")
        return client is not None and self._trusts(client[0])

    def apply(self, scope: Scope) -> None:
        """Replace `client` and `scheme` in the scope of a request from a trusted proxy."""
        hop = self._client_hop(scope)
        if hop is None or hop.address is None:
            return
        # Proxies do not report the client's port.
        scope["client"] = (hop.address, 0)
        if hop.scheme is not None:
            secure = hop.scheme == "https"
            if scope["type"] == ScopeType.WEBSOCKET:
                scope["scheme"] = "wss" if secure else "ws"
            else:
                scope["scheme"] = hop.scheme

    def _client_hop(self, scope: Scope) -> Hop | None:
        forwarded, x_forwarded, schemes = (
            _joined(scope, name) for name in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto")
        )
        hop = client_hop(parse_forwarded(forwarded) or (), self._trusts)
        x_hop = client_hop(parse_x_forwarded(x_forwarded, schemes) or (), self._trusts)
        if forwarded and x_forwarded:
            # A proxy sets one header and passes the other on as the client sent it. If they differ, it is
            # unknown which is forged.
            return hop if hop and x_hop and hop.address == x_hop.address else None
        return hop or x_hop

    def _is_in_networks(self, host: str) -> bool:
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)


def parse_timeout(value: bytes) -> float | None:
    """Parse `X-Request-Timeout`: a positive number of seconds; return None for anything else."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None


def _joined(scope: Scope, name: bytes) -> str:
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
