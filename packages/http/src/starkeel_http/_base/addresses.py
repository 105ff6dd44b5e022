"""IP addresses, networks and web origins."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, final

from starkeel_config import ParsedStr

_IPV6_CLIENT_PREFIX: Final = 64
_IPV6_SITE_PREFIX: Final = 48
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@final
class Network(ParsedStr):
    """A network in CIDR notation; a single address is a network of one address."""

    __slots__ = ()

    accepts = "a network in CIDR notation: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the network; a ValueError is raised for other text, or bits set after the prefix."""
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError("is not a network") from None
        try:
            return str(ip_network(text))
        except ValueError:
            raise ValueError(f"has bits set after the prefix; its network is {network}") from None


@final
class Origin(ParsedStr):
    """A web origin as browsers send it (RFC 6454, 6.2): scheme, host and non-default port."""

    __slots__ = ()

    accepts = "an origin: scheme://host or scheme://host:port, without a path"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the origin as browsers send it; `*` stands for every origin."""
        if text == "*":
            return text
        found = _ORIGIN.fullmatch(text.lower())
        if found is None:
            raise ValueError("is not an origin")
        scheme, host, port = found["scheme"], found["host"], int(found["port"] or 0)
        if found["port"] and not 0 < port < 65536:
            raise ValueError("has a port out of range")
        is_default = not port or port == _DEFAULT_PORTS.get(scheme)
        return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{port}"


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes IPv4, invalid text None."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def membership(networks: Iterable[Network]) -> Callable[[str], bool]:
    """Return a function that returns whether an address is in one of the networks; it caches its results."""
    parsed = [ip_network(network) for network in networks]

    @lru_cache(4096)
    def is_member(text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in parsed)

    return is_member


@lru_cache(4096)
def rate_limit_keys(host: str) -> tuple[str, str | None]:
    """Return the keys under which a client is counted: alone, and with its neighbours.

    The first is its IPv4 address, or the /64 of its IPv6 address: a client with one IPv6 address usually
    controls a /64 (RFC 6177). The second is the /48, which one site may have, and `None` for IPv4. Text that
    is not an address is returned unchanged.
    """
    address = parse_address(host)
    if isinstance(address, IPv6Address):
        return _network(address, _IPV6_CLIENT_PREFIX), _network(address, _IPV6_SITE_PREFIX)
    return str(address or host), None


def _network(address: IPv6Address, prefix: int) -> str:
    bits = 128 - prefix
    return f"{IPv6Address(int(address) >> bits << bits)}/{prefix}"
