"""Where an upstream is."""

from typing import Self
from urllib.parse import urlsplit


class UpstreamUrl(str):
    """An absolute `http` or `https` URL without credentials, query and a slash at its end."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password, query and fragment"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text, and take slashes from its end.

        Raises:
            ValueError: It is no such URL; the message never repeats credentials.
        """
        if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            raise ValueError("has characters that no URL has")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("is neither http:// nor https://")
        if "@" in parts.netloc:
            raise ValueError("has a user or a password in it")
        # `port` raises ValueError when it is no port.
        if not parts.hostname or parts.port == 0:
            raise ValueError("has no host, or port 0")
        if "?" in text or "#" in text:
            raise ValueError("has a query or a fragment")
        return cls(text.rstrip("/"))
