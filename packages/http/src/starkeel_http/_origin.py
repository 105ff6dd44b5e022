"""Who a browser says a page is from."""

import re
from typing import Final, Self, final

_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


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
