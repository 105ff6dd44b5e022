"""What is kept of a request that is over, until it is told of together with others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._metrics._http import Key
    from ._request import Request
    from ._traces._server import ServerSpan


class Peer(NamedTuple):
    """Who asks.

    Attributes:
        address: Of the client, as far as it is known.
        span: What spans say of it.
        line: What lines say of it.
    """

    address: str | None
    span: bytes
    line: str


class Kind:
    """What requests have in common, written down once.

    Args:
        key: What they were, and the status of the answer.
        span: What their spans say.
        line: What their lines say: before the path, and after it.
        needs_request: Whether more must be known of each than is kept of most.
        is_usual: Whether they are told of as most are, unless there is something more about one.
    """

    __slots__ = ("is_usual", "key", "line_after", "line_before", "needs_request", "seen", "span")

    def __init__(
        self, key: "Key", span: bytes, line: tuple[str, str], *, needs_request: bool, is_usual: bool
    ) -> None:
        self.key = key
        self.span = span
        self.line_before, self.line_after = line
        self.needs_request = needs_request
        self.is_usual = is_usual
        self.seen: list[Report] = []
        """Those that are not counted yet."""


class Told(NamedTuple):
    """What is said already of a request that was not as most are.

    Attributes:
        status: Of the answer.
        ids: Of its trace and its span, which has ended; nothing when it has none.
        is_sent: Whether that is sent.
        needs_line: Whether its line is still to be written.
    """

    status: int
    ids: bytes
    is_sent: bool
    needs_line: bool


class More(NamedTuple):
    """What there is about some requests beside what there is about all.

    Attributes:
        bound: What was bound for it.
        span: Its span, if somebody asked for it.
        request: Itself, if it is needed.
        told: What is said already.
    """

    bound: Mapping[str, Any]
    span: "ServerSpan | None"
    request: "Request | None"
    told: Told | None


Report = tuple[Kind, Peer, str, int, int, int, bytes, str, More | None]
"""What it was; who asked, and for which path; when it began and ended, in nanoseconds of a clock that nobody
sets; bytes that were sent; its ids, and what it is called; and what there is beside that, nothing for most.

No more than that: what is kept is not at hand any more when it is needed, nor is what took its place.
"""
