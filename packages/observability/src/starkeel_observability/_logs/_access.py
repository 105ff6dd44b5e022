"""The line of a request that went well, put together by hand: it is most of all that is logged."""

import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from starkeel_observability._metrics._http import Key
from starkeel_observability._request import Request

from ._clean import Cleaner, encodable, name_of
from ._event import RESERVED, second_of, shortened
from ._json import json_line
from ._pipe import ACCESS
from ._redact import masked
from ._structlog import PROCESSORS, TARGETS, deliver

TARGET: Final = ACCESS
_INFO: Final = 20
_SAID: Final = RESERVED | {"method", "path", "status", "route", "duration_ms", "bytes", "client"}

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


def line(
    request: Request, key: Key, plain_path: str | None, ids: bytes, bound: Mapping[str, Any], ended_ns: int
) -> str:
    """Make the line, with the names and in the order that `_event.composed` has; `write` writes it.

    Args:
        request: That it is about; it is over.
        key: What it was, and the status of the answer.
        plain_path: Its path, if that needs no closer look.
        ids: Of its trace, 16 bytes, and of its span, 8 bytes; none when it has no span.
        bound: What was bound for it beside its id.
        ended_ns: When it was over, in nanoseconds since 1970.
    """
    client = request.told[3]
    second, ns = divmod(ended_ns, 1_000_000_000)
    hexed = ids.hex()
    return _template(key, client and client[0], _this_thread.number, bool(ids)) % (
        second_of(second),
        ns // 1000,
        _more(bound) if bound else "",
        _odd(request.path) if plain_path is None else plain_path,
        (request.ended - request.began) * 1000,
        request.sent_bytes,
        hexed[:32],
        hexed[32:],
        request.id,
    )


def write(lines: list[str]) -> None:
    """Write lines that `line` made, together."""
    pipe = TARGETS.pipe
    if pipe is not None and lines:
        # All end alike.
        lines.append("")
        text = _end(pipe.service, pipe.version).join(lines)
        pipe.write(_INFO, text.encode(), len(lines) - 1)


_LINE: Final = f'{{"timestamp":"%s.%06dZ","level":"INFO","target":"{TARGET}","message":"request completed",%s'
_TRACE: Final = ',"trace_id":"%s","span_id":"%s"'
_NO_TRACE: Final = "%.0s%.0s"


def _odd(path: str) -> str:
    return _text(masked(path))[1:-1]


@lru_cache(maxsize=4096)
def _template(key: Key, client: str | None, thread: int, has_trace: bool) -> str:
    """What lines have in common."""
    method, route, status = key
    told_route = "" if route is None else f',"route":{_text(masked(route))}'
    told_client = "" if client is None else f',"client":{_text(masked(client))}'
    return (
        f'{_LINE}"method":"{method}","path":"%s",'
        f'"status":{status}{_literal(told_route)},"duration_ms":%.3f,"bytes":%d{_literal(told_client)},'
        f'"file":{_literal(_text(_FILE))},"line":1,"threadId":{thread}{_TRACE if has_trace else _NO_TRACE},'
        '"request_id":"%s"'
    )


def _literal(text: str) -> str:
    return text.replace("%", "%%")


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


class _ThisThread(threading.local):
    """The number of the running thread, which a call of the system would tell each time."""

    def __init__(self) -> None:
        self.number = threading.get_native_id()


_this_thread: Final = _ThisThread()
_FILE: Final = shortened(__file__)
