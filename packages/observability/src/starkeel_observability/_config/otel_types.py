"""Value types of the OpenTelemetry settings."""

import re
from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from starkeel_config import ParsedStr

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
PAIRS: Final = "name=value pairs, comma-separated and percent-encoded"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Protocol = Literal["http/protobuf", "grpc"]
SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


class OtlpEndpoint(ParsedStr):
    """HTTP URL of a collector; may contain credentials."""

    __slots__ = ()

    accepts = "a URL that begins with http:// or https:// and names a host"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the URL without trailing slashes."""
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", text):
            raise ValueError
        if parts.port == 0:
            raise ValueError("its port is 0")
        return text.rstrip("/")

    @property
    def shown(self) -> str:
        """The URL without scheme and credentials."""
        return self.rpartition("@")[2] if "@" in self else self.partition("://")[2]

    def __repr__(self) -> str:
        return f"OtlpEndpoint({self.shown!r})"


class ResourceAttributes(ParsedStr):
    """Resource attributes of a process: `deployment.region=eu,team=a%2Cb`."""

    __slots__ = ()

    accepts = PAIRS

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the text unchanged."""
        dict(parse_pairs(text))
        return text


class Propagators(ParsedStr):
    """Names of propagators: `tracecontext,baggage`; `none` for none."""

    __slots__ = ()

    accepts = "names of installed propagators, comma-separated, or `none`"

    @classmethod
    def canonical(cls, text: str) -> str:
        """Return the names without spaces."""
        names = [name.strip() for name in text.split(",")]
        if not all(names):
            raise ValueError
        return ",".join(names)

    @property
    def names(self) -> list[str]:
        names = self.split(",")
        return [] if "none" in map(str.lower, names) else names


def is_installed(group: str, name: str) -> bool:
    """Return whether a distribution provides an implementation that OpenTelemetry loads by name."""
    # Imported here, as only settings other than the defaults need it.
    from importlib.metadata import entry_points

    return bool(entry_points(group=f"opentelemetry_{group}", name=name))


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers of export requests by lower-case name.

    Raises:
        ValueError: The text is malformed. The message does not contain values, which may be secret.
    """
    found = {}
    for name, value in parse_pairs(text):
        if not _HEADER.fullmatch(name):
            raise ValueError("it contains an invalid header name")
        found[name.lower()] = value
    return found


def parse_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and decoded values; raises ValueError if the text is malformed."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, is_pair, value = part.partition("=")
        if not is_pair or not name.strip():
            raise ValueError("it contains a part that is not name=value")
        value = unquote(value.strip())
        if _CONTROL.search(value):
            raise ValueError("it contains a value with control characters")
        yield unquote(name.strip()), value
