"""The line of a request that went well, put together by hand: it is most of all that is logged."""

import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from starkeel_observability._metrics._http import Key
from starkeel_observability._request import LONGEST_PATH

from ._clean import Cleaner, encodable, name_of
from ._event import RESERVED, second_of, shortened
from ._json import json_line
from ._pipe import ACCESS
from ._redact import masked
from ._structlog import PROCESSORS, TARGETS, deliver

TARGET: Final = ACCESS
_INFO: Final = 20
_SAID: Final = RESERVED | {"method", "path", "status", "route", "duration_ms", "bytes", "client"}

Common = tuple[str, str]
_target: Final = TARGETS(TARGET)


def is_possible() -> bool:
    """Whether lines may be written by `write`: as JSON, with nobody in between who would change them."""
    pipe = TARGETS.pipe
    return (
        pipe is not None
        and pipe.is_json
        and _target.level <= _INFO
        and len(PROCESSORS) == 1
        and PROCESSORS[0] is deliver
    )


def is_said(bound: Mapping[str, Any]) -> bool:
    """Whether something was bound by a name that means something else in the line."""
    return not _SAID.isdisjoint(bound)


class Lines:
    """Lines of requests that went well, with the names and in the order that `_event.composed` has."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self._second = 0
        self._moment = ""
        self._where = f'"file":{_text(_FILE)},"line":1,"threadId":{threading.get_native_id()}'

    def add(
        self,
        common: Common,
        client: str,
        path: str,
        duration_s: float,
        sent_bytes: int,
        ids: bytes,
        request_id: str,
        bound: Mapping[str, Any],
        ended_ns: int,
    ) -> None:
        """Make one.

        Args:
            common: What `common` says of the request.
            client: What `client` says of who asked.
            path: Its path, if that is plain; else what `odd_path` makes of it.
            duration_s: How many seconds it took.
            sent_bytes: How many bytes its answer had.
            ids: Of its trace, 16 bytes, and of its span, 8 bytes; none when it has no span.
            request_id: Its own.
            bound: What was bound for it beside that.
            ended_ns: When it was over, in nanoseconds since 1970.
        """
        second, ns = divmod(ended_ns, 1_000_000_000)
        if second != self._second:
            self._second, self._moment = second, f'{{"timestamp":"{second_of(second)}.'
        more = _more(bound) if bound else ""
        before, after = common
        trace = f'"trace_id":"{ids[:16].hex()}","span_id":"{ids[16:].hex()}",' if ids else ""
        self.made.append(
            f"{self._moment}{ns // 1000:06d}{_WHAT}{more}{before}{path}{after}{duration_s * 1000:.3f},"
            f'"bytes":{sent_bytes}{client},{self._where},{trace}"request_id":"{request_id}"'
        )

    def write(self) -> None:
        """Write them together."""
        pipe, made = TARGETS.pipe, self.made
        if pipe is not None and made:
            # All end alike.
            made.append("")
            text = _end(pipe.service, pipe.version).join(made)
            pipe.write(_INFO, text.encode(), len(made) - 1)


def common(key: Key) -> Common:
    """What the lines of all requests of one route and outcome say: before the path, and after it."""
    method, route, status = key
    told_route = "" if route is None else f',"route":{_text(masked(route))}'
    return f'"method":"{method}","path":"', f'","status":{status}{told_route},"duration_ms":'


def client(address: str | None) -> str:
    """What the line of a request says about who asked."""
    return "" if address is None else f',"client":{_text(masked(address))}'


_WHAT: Final = f'Z","level":"INFO","target":"{TARGET}","message":"request completed",'


def odd_path(path: str) -> str:
    """A path as a line has it that takes a closer look."""
    return _text(masked(path[:LONGEST_PATH]))[1:-1]


@lru_cache(maxsize=8)
def _end(service: str, version: str) -> str:
    return f',"service":{_text(masked(service))},"version":{_text(masked(version))}}}\n'


def _more(bound: Mapping[str, Any]) -> str:
    cleaner = Cleaner()
    fields = {name_of(name): cleaner.field(name, value) for name, value in bound.items()}
    return f"{json_line(fields)[1:-2].decode()},"


def _text(text: str) -> str:
    """A text as JSON."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return json_line(encodable(text))[:-1].decode()


_FILE: Final = shortened(__file__)
