"""String types for fields whose text is validated."""

from typing import ClassVar, Self
from urllib.parse import urlsplit


class ParsedStr(str):
    """Base class of `str` subclasses that are read from a variable.

    A subclass sets `accepts` and overrides `canonical`. The constructor does not validate.
    """

    __slots__ = ()

    accepts: ClassVar[str]
    """Description of accepted values, for error messages and documentation."""

    @classmethod
    def canonical(cls, text: str) -> str:
        """Validate a text and return its canonical form: by default the text itself.

        Raises:
            ValueError: The text is invalid. The message follows the variable's value: "has no host".
        """
        return text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Create an instance from a text; raises ValueError as `canonical`."""
        return cls(cls.canonical(text))


class HttpUrl(ParsedStr):
    """An absolute `http` or `https` URL without credentials and fragment."""

    __slots__ = ()

    accepts = "an http:// or https:// URL without user, password and fragment"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the URL unchanged; messages of raised errors contain no credentials."""
        if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            raise ValueError("contains characters that are not allowed in a URL")
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("is neither http:// nor https://")
        if "@" in parts.netloc:
            raise ValueError("contains a user or a password")
        # `port` raises ValueError for an invalid port.
        if not parts.hostname or parts.port == 0:
            raise ValueError("has no host, or port 0")
        if "#" in text:
            raise ValueError("has a fragment")
        return text
