"""Addresses of targets, and which of them may receive hostile requests."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from .._errors import UsageError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL whose host was resolved once, so that later requests reach the same machine.

    Attributes:
        scheme: `http` or `https`.
        host: Name as given, without brackets.
        port: Port.
        prefix: Path that precedes all paths, without a slash at the end.
        ip: Resolved address.
    """

    scheme: str
    host: str
    port: int
    prefix: str
    ip: str

    @property
    def authority(self) -> str:
        """Value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without user and password."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether the address is of this machine's loopback interface."""
        ip = ipaddress.ip_address(self.ip)
        mapped = getattr(ip, "ipv4_mapped", None)
        return (mapped or ip).is_loopback


def resolve(url: str, *, origin: str) -> Address:
    """Return the address of a URL.

    Args:
        url: Base URL.
        origin: Option or key that it comes from, for errors.

    Raises:
        UsageError: It is no URL of HTTP, or its host cannot be resolved.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{origin}: {url!r} is not a URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"{origin}: {url!r} is not an http:// or https:// URL such as http://localhost:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"{origin}: the URL must have no user, query or fragment; tokens belong to [auth]")
    port = port or _PORTS[parts.scheme]
    return Address(
        parts.scheme, parts.hostname, port, parts.path.rstrip("/"), _ip(parts.hostname, port, origin)
    )


def _ip(host: str, port: int, origin: str) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{origin}: cannot resolve {host!r}: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for ip in addresses:
        try:
            socket.create_connection((ip, port), timeout=1).close()
        except OSError:
            continue
        return ip
    return addresses[0]


def refused_attacks(addresses: Sequence[Address], allowed: Sequence[str], *, is_owner: bool) -> str:
    """Return why hostile requests must not be sent to one of the addresses, or an empty text.

    Args:
        addresses: All addresses of the target.
        allowed: Hosts of `allowed_targets`.
        is_owner: Whether `--i-own-this` was given.
    """
    for address in addresses:
        if address.is_loopback or (is_owner and address.host in allowed):
            continue
        return (
            f"Hostile requests go to loopback addresses only: for {address.host}, name it in "
            "allowed_targets of seatrial.toml and pass --i-own-this."
        )
    return ""
