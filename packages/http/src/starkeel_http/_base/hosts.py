"""Hosts that a service serves, as in `ALLOWED_HOSTS`."""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final, final

from starkeel_config import ParsedStr

_HOST: Final = re.compile(
    r"(?P<name>(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"https": "443", "wss": "443"}


@final
class AllowedHost(ParsedStr):
    """A host in `Host` headers: a name, a name with `*.` for its subdomains, or an IP address; with any port
    unless it has one. `*` is every host.
    """

    __slots__ = ()

    accepts = "a host: api.example.com, *.example.com, api.example.com:8443, 192.0.2.7, [2001:db8::7] or *"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the host in lower case; a ValueError is raised for other text, such as a URL."""
        if text == "*":
            return text
        if "/" in text:
            raise ValueError("is a URL; remove the scheme and the path")
        found = _HOST.fullmatch(text.lower())
        if found is None:
            raise ValueError("is not a host")
        name, port = found["name"].removesuffix("."), found["port"]
        if name.startswith("["):
            try:
                name = f"[{IPv6Address(name[1:-1])}]"
            except ValueError:
                raise ValueError("has an invalid IPv6 address") from None
        if port is None:
            return name
        if not 0 < int(port) < 65536:
            raise ValueError("has a port out of range")
        return f"{name}:{int(port)}"


def host_check(hosts: Iterable[AllowedHost]) -> Callable[[bytes | None, str], bool] | None:
    """Return a function that returns whether a `Host` header of a request with a scheme is allowed.

    Returns:
        `None` if every host is.
    """
    exact = frozenset(host for host in hosts if not host.startswith("*."))
    wildcards = [host[1:].rpartition(":") for host in hosts if host.startswith("*.")]
    # A name without a port has no colon: `rpartition` leaves it in the last place.
    suffixes = [(name or port, port if name else None) for name, _, port in wildcards]
    if "*" in exact or not (exact or suffixes):
        return None

    def is_allowed(header: bytes | None, scheme: str) -> bool:
        if not header:
            # Where HTTP allows it, before 1.1, the request names no other host (RFC 9112, 3.3).
            return True
        name, port = _split(header)
        port = port or _DEFAULT_PORTS.get(scheme, "80")
        if name in exact or f"{name}:{port}" in exact:
            return True
        return any(
            name.endswith(suffix) and len(name) > len(suffix) and required in {None, port}
            for suffix, required in suffixes
        )

    return is_allowed


def _split(header: bytes) -> tuple[str, str]:
    """Return name and port of a valid `Host` header as `AllowedHost` spells them."""
    text = header.decode("latin-1").lower()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        try:
            return f"[{ip_address(address)}]", port.removeprefix(":")
        except ValueError:
            return text, ""
    name, _, port = text.partition(":")
    return name.removesuffix("."), port
