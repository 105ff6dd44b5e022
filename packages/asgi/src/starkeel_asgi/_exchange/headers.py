"""HTTP header fields."""

from collections.abc import Collection

Header = tuple[bytes, bytes]
"""Name in lower case, as ASGI requires, and value."""


def header_map(headers: Collection[Header]) -> dict[bytes, bytes]:
    """Return header values by name; the values of a repeated name are joined.

    Joined with a comma (RFC 9110, 5.3), cookies with a semicolon (RFC 9113, 8.2.3): nothing is dropped, and a
    field that may stand only once becomes invalid instead of ambiguous.
    """
    values = dict(headers)
    if len(values) == len(headers):
        return values
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in joined:
            joined[name] += (b"; " if name == b"cookie" else b", ") + value
        else:
            joined[name] = value
    return joined
