"""Where keys are fetched from."""

from typing import Self
from urllib.parse import urlsplit


class HttpUrl(str):
    """An absolute `http` or `https` URL without credentials and fragment."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password and fragment"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check a text.

        Raises:
            ValueError: It is no such URL; the message never repeats credentials.
        """
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("has characters that no URL has")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("is neither http:// nor https://")
        if "@" in parts.netloc:
            raise ValueError("has a user or a password in it")
        # `port` raises ValueError when it is no port.
        if not parts.hostname or parts.port == 0:
            raise ValueError("has no host, or port 0")
        if parts.fragment:
            raise ValueError("has a fragment")
        return cls(text)
