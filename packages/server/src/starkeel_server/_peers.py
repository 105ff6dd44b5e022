"""Who may see what is for the operators of a machine only."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_FORWARDED: Final = frozenset(
    [
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-real-ip",
    ]
)
"""What proxies add: behind one on this machine everybody would come from this machine."""


def is_local(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether whoever asks is on this machine, or in this pod, and asks by himself.

    Decided by the socket's address alone; headers can only take it back. Among them is `Host`: a web page
    whose name was made to point here afterwards (DNS rebinding) would have a browser on this machine ask.

    Args:
        peer: Address at the other end of the connection.
        headers: Of the request, by their lower-case names.
    """
    address = _address(peer)
    if address is None or not address.is_loopback:
        return False
    return _FORWARDED.isdisjoint(headers) and _is_by_address(headers.get("host", ""))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # How IPv4 looks on a socket that takes both.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _is_by_address(host: str) -> bool:
    if not host:
        return True
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _address(name) is not None
