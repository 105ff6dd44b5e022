"""What the environment says about traces, as values."""

import re
from collections.abc import Iterator
from typing import Literal, final
from urllib.parse import unquote, urlsplit

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Protocol = Literal["http/protobuf", "grpc"]
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


@final
class OtlpEndpoint:
    """Where spans are sent.

    Args:
        url: An HTTP URL.
    """

    __slots__ = ("url",)

    accepts = "a URL that begins with http:// or https:// and names a host"

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def parse(cls, text: str) -> "OtlpEndpoint":
        """Check a URL.

        Raises:
            ValueError: It is none.
        """
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", text):
            raise ValueError
        if parts.port == 0:
            raise ValueError("its port is 0")
        return cls(text.rstrip("/"))

    @property
    def shown(self) -> str:
        """Host and port, for people."""
        return self.url.rpartition("@")[2] if "@" in self.url else self.url.partition("://")[2]

    def __str__(self) -> str:
        return self.url


@final
class ResourceAttributes:
    """Attributes of everything a process sends: `deployment.region=eu,team=a%2Cb`.

    Args:
        pairs: Their names and values.
    """

    __slots__ = ("pairs",)

    accepts = "name=value pairs, comma-separated and percent-encoded"

    def __init__(self, pairs: tuple[tuple[str, str], ...] = ()) -> None:
        self.pairs = pairs

    @classmethod
    def parse(cls, text: str) -> "ResourceAttributes":
        """Read pairs from a text.

        Raises:
            ValueError: It holds something else.
        """
        return cls(tuple(_pairs(text)))

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceAttributes) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)


def headers(text: str) -> dict[str, str]:
    """Headers of requests to the collector, by their lower-case names.

    Raises:
        ValueError: The text is wrong; it says how without showing it.
    """
    found = {}
    for name, value in _pairs(text):
        if not _HEADER.fullmatch(name):
            raise ValueError("a name in it cannot be a header's")
        found[name.lower()] = value
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, is_pair, value = part.partition("=")
        if not is_pair or not name.strip():
            raise ValueError("a part of it is no name=value")
        value = unquote(value.strip())
        if _CONTROL.search(value):
            raise ValueError("a value in it has control characters")
        yield unquote(name.strip()), value
