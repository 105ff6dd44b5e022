"""Addresses and the networks they are in."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self, final

_SUBSCRIBER_BITS = 64
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@final
class Network(str):
    """A network in CIDR notation; a single address is the network of just that address."""

    __slots__ = ()

    accepts = "a network in CIDR notation: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text.

        Raises:
            ValueError: It is no network, or an address within one.
        """
        try:
            return cls(ip_network(text))
        except ValueError:
            pass
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            raise ValueError("is no network") from None
        raise ValueError(f"has bits set behind the prefix: {meant} is the network it is in")


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, an IPv4 one written as IPv6 as what it is; None for anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


@lru_cache(4096)
def rate_limit_key(host: str) -> str:
    """Return what tells one client from another: an IPv4 address, or the /64 an IPv6 address is in.

    Whoever has one IPv6 address has at least the 2**64 of its network (RFC 6177).

    Args:
        host: The address; a text that is none stands for itself.
    """
    address = parse_address(host)
    if isinstance(address, IPv6Address):
        bits = 128 - _SUBSCRIBER_BITS
        return f"{IPv6Address(int(address) >> bits << bits)}/{_SUBSCRIBER_BITS}"
    return str(address or host)


@final
class Origin(str):
    """An origin as browsers send it (RFC 6454, 6.2): scheme, host, and a port that is not the usual one."""

    __slots__ = ()

    accepts = "an origin: scheme://host or scheme://host:port, nothing after it"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text, and write it as a browser would. `*` stands for every origin.

        Raises:
            ValueError: It is no origin.
        """
        if text == "*":
            return cls(text)
        found = _ORIGIN.fullmatch(text.lower())
        if found is None:
            raise ValueError("is no origin")
        scheme, host, port = found["scheme"], found["host"], int(found["port"] or 0)
        if found["port"] and not 0 < port < 65536:
            raise ValueError("has no such port")
        if not port or port == _DEFAULT_PORTS.get(scheme):
            return cls(f"{scheme}://{host}")
        return cls(f"{scheme}://{host}:{port}")
