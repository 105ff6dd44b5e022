"""The line of a request that went well, put together by hand: it is most of all that is logged."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from starkeel_observability._metrics._http import Key
from starkeel_observability._report import Kind, Report
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


def write(reports: Sequence[Report], offset_ns: int) -> None:
    """Write the lines of requests that went well.

    Args:
        reports: As of `lines`.
        offset_ns: As of `lines`.
    """
    pipe = TARGETS.pipe
    if pipe is not None and reports:
        # All end alike.
        text = _end(pipe.service, pipe.version).join([*lines(reports, offset_ns), ""])
        pipe.write(_INFO, text.encode(), len(reports))


def lines(reports: Iterable[Report], offset_ns: int) -> list[str]:
    """Lines of requests that went well but for their end: names and order are those of `_event.composed`.

    Args:
        reports: What is known of them; their paths as lines have them, and no ids where they have no span.
        offset_ns: What is added to their times to have nanoseconds since 1970.
    """
    where = f',"file":{_text(_FILE)},"line":1,"threadId":{threading.get_native_id()},"trace_id":"'
    made: list[str] = []
    began_second = next_second = 0
    moment = ""
    for kind, peer, path, began, ended, sent_bytes, ids, request_id, _ in reports:
        if not began_second <= ended < next_second:
            second = (ended + offset_ns) // _SECOND_NS
            began_second = second * _SECOND_NS - offset_ns
            next_second = began_second + _SECOND_NS
            moment = f'{{"timestamp":"{second_of(second)}.'
        # Digits are looked up: thrice as fast as to format them.
        us, took_us = (ended - began_second) // 1000, (ended - began) // 1000
        hexed = ids.hex()
        line = (
            f"{moment}{_DIGITS[us // 1000]}{_DIGITS[us % 1000]}{kind.line_before}{path}{kind.line_after}"
            f'{took_us // 1000}.{_DIGITS[took_us % 1000]},"bytes":{sent_bytes}{peer.line}{where}'
            f'{hexed[:32]}","span_id":"{hexed[32:]}","request_id":"{request_id}"'
        )
        made.append(line if ids else "".join(line.rsplit(_NO_IDS, 1)))
    return made


def common(key: Key) -> Common:
    """What the lines of all requests of one route and outcome say: before the path, and after it."""
    method, route, status = key
    told_route = "" if route is None else f',"route":{_text(masked(route))}'
    return f'{_WHAT}"method":"{method}","path":"', f'","status":{status}{told_route},"duration_ms":'


def with_bound(kind: Kind, bound: Mapping[str, Any]) -> Kind:
    """A kind of request for which something was bound."""
    line = f"{_WHAT}{_more(bound)}{kind.line_before.removeprefix(_WHAT)}", kind.line_after
    return Kind(kind.key, kind.span, line, needs_request=kind.needs_request, is_usual=False)


def client(address: str | None) -> str:
    """What the line of a request says about who asked."""
    return "" if address is None else f',"client":{_text(masked(address))}'


_NO_IDS: Final = ',"trace_id":"","span_id":""'
_SECOND_NS: Final = 1_000_000_000
_DIGITS: Final = tuple(f"{number:03d}" for number in range(1000))
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
