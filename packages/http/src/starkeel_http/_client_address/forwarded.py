"""Parsers of `Forwarded` (RFC 7239) and `X-Forwarded-For`."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .._base.addresses import parse_address

_MAX_LENGTH: Final = 8192
_PAIR: Final = re.compile(
    r"""[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=
    (?P<value>[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*"))?[ \t]*(?P<end>[;,]|\Z)""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Hop(NamedTuple):
    """One hop of a request's path, as reported by the proxy that received it.

    Args:
        address: Address of the sender; None if unknown.
        scheme: `http` or `https`; None if unknown.
    """

    address: str | None
    scheme: str | None = None


def parse_forwarded(text: str) -> list[Hop] | None:
    """Parse a `Forwarded` header; the client comes first.

    Args:
        text: All header lines, joined by commas.

    Returns:
        None if the header is malformed.
    """
    if len(text) > _MAX_LENGTH:
        return None
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while True:
        found = _PAIR.match(text, at)
        if found is None:
            return None
        if name := (found["name"] or "").lower():
            if name in pairs:
                return None
            pairs[name] = _unquoted(found["value"])
        at = found.end()
        if found["end"] != ";":
            if pairs:
                hops.append(Hop(parse_node(pairs.get("for", "")), _scheme(pairs.get("proto", ""))))
            pairs = {}
        if not found["end"]:
            return hops


def parse_x_forwarded(addresses: str, schemes: str) -> list[Hop] | None:
    """Parse `X-Forwarded-For` and `X-Forwarded-Proto`; the client comes first.

    Args:
        addresses: All lines of `X-Forwarded-For`, joined by commas.
        schemes: All lines of `X-Forwarded-Proto`. If the numbers differ, the last scheme, which the nearest
            proxy wrote, applies to every hop.

    Returns:
        None if a header is too long.
    """
    if len(addresses) > _MAX_LENGTH or len(schemes) > _MAX_LENGTH:
        return None
    nodes = [part for text in addresses.split(",") if (part := text.strip())]
    known = [_scheme(text.strip()) for text in schemes.split(",") if text.strip()]
    if len(known) != len(nodes):
        known = known[-1:] * len(nodes) or [None] * len(nodes)
    return [Hop(parse_node(node), scheme) for node, scheme in zip(nodes, known, strict=True)]


def parse_node(text: str) -> str | None:
    """Parse an address with an optional port; return None for `unknown`, obfuscated or invalid nodes."""
    host, separator, port = text, "", ""
    if text.startswith("["):
        host, separator, rest = text[1:].partition("]")
        if not separator or (rest and not rest.startswith(":")):
            return None
        separator, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, separator, port = text.partition(":")
    # A port may be obfuscated (RFC 7239, 6).
    if separator and not (_PORT.fullmatch(port) or port.startswith("_")):
        return None
    address = parse_address(host)
    return None if address is None else str(address)


def client_hop(hops: Sequence[Hop], is_trusted: Callable[[str], bool]) -> Hop | None:
    """Return the right-most hop that is not a trusted proxy; the hops to its left may be forged.

    Args:
        hops: The client comes first.
        is_trusted: Whether an address is a trusted proxy.

    Returns:
        The last known hop if an address is unknown or all proxies are trusted; None without a known hop.
    """
    found: Hop | None = None
    for hop in reversed(hops):
        if hop.address is None:
            break
        found = hop
        if not is_trusted(hop.address):
            break
    return found


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _scheme(text: str) -> str | None:
    scheme = text.lower()
    return scheme if scheme in {"http", "https"} else None
