"""What proxies say of the client they speak for: `Forwarded` (RFC 7239) and `X-Forwarded-For`."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .._base.addresses import parse_address

_LONGEST: Final = 8192
_PAIR: Final = re.compile(
    r"""[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=
    (?P<value>[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*"))?[ \t]*(?P<end>[;,]|\Z)""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Hop(NamedTuple):
    """One step on the way of a request.

    Args:
        address: Who sent it; None when the proxy does not tell.
        scheme: `http` or `https`; None when the proxy does not tell.
    """

    address: str | None
    scheme: str | None = None


def parse_forwarded(text: str) -> list[Hop] | None:
    """Read a `Forwarded` header, the client first.

    Args:
        text: All its lines, joined by commas.

    Returns:
        None when it is malformed: nothing of it is believed then.
    """
    if len(text) > _LONGEST:
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
    """Read `X-Forwarded-For` and `X-Forwarded-Proto`, the client first.

    Args:
        addresses: All lines of the one, joined by commas.
        schemes: All lines of the other. One scheme stands for every hop: it is the nearest proxy's word.

    Returns:
        None when they are too long.
    """
    if len(addresses) > _LONGEST or len(schemes) > _LONGEST:
        return None
    nodes = [part for text in addresses.split(",") if (part := text.strip())]
    known = [_scheme(text.strip()) for text in schemes.split(",") if text.strip()]
    if len(known) != len(nodes):
        known = known[-1:] * len(nodes) or [None] * len(nodes)
    return [Hop(parse_node(node), scheme) for node, scheme in zip(nodes, known, strict=True)]


def parse_node(text: str) -> str | None:
    """Read an address with or without a port; None for `unknown`, an obfuscated name and garbage."""
    host, separator, port = text, "", ""
    if text.startswith("["):
        host, separator, rest = text[1:].partition("]")
        if not separator or (rest and not rest.startswith(":")):
            return None
        separator, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, separator, port = text.partition(":")
    # RFC 7239, 6: a port may be obfuscated as well.
    if separator and not (_PORT.fullmatch(port) or port.startswith("_")):
        return None
    address = parse_address(host)
    return None if address is None else str(address)


def client_hop(hops: Sequence[Hop], is_trusted: Callable[[str], bool]) -> Hop | None:
    """Return the last hop that nobody trusted speaks for: what is left of it may be made up.

    Args:
        hops: The client first.
        is_trusted: Whether an address is a proxy of ours.

    Returns:
        None when the nearest proxy does not tell.
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
