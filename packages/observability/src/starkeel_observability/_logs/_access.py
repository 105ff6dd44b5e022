"""The line of a request that went well, put together by hand: it is most of all that is logged."""

import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from opentelemetry.trace import Span

from starkeel_observability._traces._recorded import RecordedSpan

from ._clean import encodable
from ._event import shortened, timestamp
from ._json import json_line
from ._pipe import ACCESS
from ._redact import masked
from ._structlog import PROCESSORS, TARGETS, deliver

TARGET: Final = ACCESS
_INFO: Final = 20

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


def write(
    method: str,
    path: str,
    route: str | None,
    status: int,
    *,
    duration_s: float,
    size: int,
    client: str | None,
    request_id: str,
    span: Span | None,
) -> None:
    """Write the line, with the names and in the order that `_event.composed` has.

    Args:
        method: One that is known.
        path: As it was asked for.
        route: Template of the route.
        status: Of the answer.
        duration_s: Seconds it took.
        size: Bytes of the answer.
        client: Address.
        request_id: Of the request.
        span: Of the request.
    """
    pipe = TARGETS.pipe
    assert pipe is not None
    told_route = "" if route is None else f',"route":{_known(route)}'
    told_client = "" if client is None else f',"client":{_known(client)}'
    line = (
        f'{{"timestamp":"{timestamp(time.time())}","level":"INFO","target":"{TARGET}",'
        f'"message":"request completed","method":"{method}","path":{_text(path)},'
        f'"status":{status}{told_route},'
        f'"duration_ms":{duration_s * 1000:.3f},"bytes":{size}{told_client},"file":{_known(_FILE)},"line":1,'
        f'"threadId":{threading.get_native_id()}{_ids(span)},"request_id":"{request_id}",'
        f'"service":{_known(pipe.service)},"version":{_known(pipe.version)}}}\n'
    )
    pipe.write(_INFO, line.encode())


def _ids(span: Span | None) -> str:
    if isinstance(span, RecordedSpan):
        return f',"trace_id":"{span.trace_id:032x}","span_id":"{span.span_id:016x}"'
    if span is None:
        return ""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f',"trace_id":"{context.trace_id:032x}","span_id":"{context.span_id:016x}"'


def _text(text: str) -> str:
    """A text as JSON, without personal data."""
    text = masked(text)
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return json_line(encodable(text))[:-1].decode()


_known: Final[Callable[[str], str]] = lru_cache(maxsize=1024)(_text)
_FILE: Final = shortened(__file__)
