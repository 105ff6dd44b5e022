"""Rows about the log of a service."""

import re
import secrets
import time
from functools import partial
from urllib.parse import quote

from .._drill.credentials import sent_credentials
from .._drill.drill import Drill
from .._drill.load import ends_connection, receive_response
from .._drill.logged import REQUESTS, Line, logged, shown
from .._drill.stops import opened
from .._drill.waiting import until, until_stable
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed

_TIMES = ("timestamp", "time", "@timestamp", "ts", "datetime", "date", "asctime", "t", "@t")
_LEVELS = ("level", "severity", "log.level", "levelname", "severity_text", "severityText", "lvl", "@l")
_MESSAGES = ("message", "msg", "event", "body", "@m", "@mt")
_REQUEST_IDS = (
    "request_id", "requestId", "requestID", "reqId", "req.id", "request.id", "http.request.id",
    "correlation_id", "correlationId", "x_request_id", "x-request-id",
)  # fmt: skip
_TRACE_IDS = ("trace_id", "traceId", "traceID", "trace.id", "otelTraceID", "dd.trace_id", "trace")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_STALLED_REQUESTS = 1500
_QUIET_S = 0.7
_SETTLE_S = 4.0


def _json(drill: Drill) -> Judgement:
    lines = list(logged(drill).lines)
    if not lines:
        return failed("It writes nothing to standard output.", drill.calm.evidence())
    others = [line for line in lines if line.fields is None]
    if others:
        return failed(f"{len(others)} of {len(lines)} lines are no JSON object.", shown("lines", others))
    return passed(f"All {len(lines)} lines are JSON objects.", shown("lines", lines[-3:]))


def _timestamp(drill: Drill) -> Judgement:
    def is_timestamped(line: Line) -> bool:
        return _RFC_3339.fullmatch(str(line.first(*_TIMES))) is not None

    wrong = [line for line in logged(drill).objects if not is_timestamped(line)]
    if wrong:
        value = wrong[0].first(*_TIMES)
        return failed(
            f"{len(wrong)} lines have no RFC 3339 time with offset: {value!r}.", shown("lines", wrong)
        )
    return passed("Each line has an RFC 3339 time with offset.")


def _has_field(what: str, names: tuple[str, ...], drill: Drill) -> Judgement:
    lines = logged(drill).objects
    without = [line for line in lines if line.first(*names) is None]
    if without:
        return failed(f"{len(without)} of {len(lines)} lines have no {what}.", shown("lines", without))
    return passed(f"Each of {len(lines)} lines has a {what}.")


def _request_id(drill: Drill) -> Judgement:
    lines = list(logged(drill).access_lines)
    identifiers = {str(value) for line in lines if (value := line.first(*_REQUEST_IDS)) is not None}
    if len(identifiers) < len(lines):
        return failed(
            f"{len(lines)} access lines have {len(identifiers)} different request ids.", shown("lines", lines)
        )
    return passed("Each access line has a request id of its own.", shown("lines", lines[:1]))


def _trace_id(drill: Drill) -> Judgement:
    lines = list(logged(drill).access_lines)
    identifiers = {str(value) for line in lines if (value := line.first(*_TRACE_IDS)) is not None}
    if len(identifiers) < len(lines):
        return failed(
            f"{len(lines)} access lines have {len(identifiers)} different trace ids.", shown("lines", lines)
        )
    return passed("Each access line has a trace id of its own.", shown("lines", lines[:1]))


def _complete(drill: Drill) -> Judgement:
    found = logged(drill)
    count = len(found.access)
    evidence = shown("lines", list(found.access))
    if count != REQUESTS:
        return failed(
            f"{REQUESTS} requests for {found.path} made {count} JSON lines with their method and status.",
            evidence,
        )
    return passed(f"{REQUESTS} requests made {count} lines.", evidence)


def _forgery(drill: Drill) -> Judgement:
    mark = f"forged{secrets.token_hex(6)}"
    forged = f'{{"level":"error","message":"{mark}"}}'
    instance = drill.calm
    starts = [(output, output.size) for output in (instance.stdout, instance.stderr)]
    client = drill.service(instance).client
    try:
        for request in _hostile(instance.address.authority, mark, forged):
            client.raw(request, wait_for_close_s=0.0)
    except OSError:
        if until(lambda: instance.exit_code is not None, _QUIET_S):
            return failed("The service exits after a request with such characters.", instance.evidence())
        raise
    until_stable(lambda: sum(each.size for each, _ in starts), quiet_s=_QUIET_S, timeout_s=_SETTLE_S)
    written = b"".join(output.data[start:] for output, start in starts)
    marked = [Line(line, None) for line in re.split(rb"[\r\n]+", written) if mark.encode() in line]
    evidence = shown("lines with the text of the client", marked)
    if not written:
        raise Undecided("It writes nothing about these requests: see logs-access-complete.")
    if any(line.lstrip().startswith(forged[:20].encode()) for line in re.split(rb"[\r\n]+", written)):
        return failed("A client can write a line of its own choosing.", evidence)
    if b"\x1b[31m" + mark.encode() in written:
        lines = [Line(line, None) for line in written.split(b"\n") if b"\x1b[31m" in line]
        return failed("A client can write control sequences of a terminal.", shown("lines", lines))
    try:
        written.decode("utf-8")
    except UnicodeDecodeError as error:
        return failed(f"A client can make the log invalid UTF-8 ({error.reason}).", evidence)
    return passed("Line breaks, control sequences and invalid UTF-8 of clients are escaped.", evidence)


def _hostile(authority: str, mark: str, forged: str) -> list[bytes]:
    breaks = quote(f"\r\n{forged}\r\n", safe="")
    targets = [f"/{breaks}", f"/?a={breaks}", f"/%1b%5b31m{mark}", f"/{mark}%ff%fe%80", f"/{mark}%00%08%0c"]
    requests = [f"GET {each} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n" for each in targets]
    values = [f"\x1b[31m{mark}", f"{mark}\xff\xfe\x80", f'"}}\t{forged}', f"\r{forged}"]
    for value in values:
        requests += [
            f"GET /{mark} HTTP/1.1\r\nHost: {authority}\r\n{name}: {value}\r\nConnection: close\r\n\r\n"
            for name in ("User-Agent", "X-Request-ID", "X-Forwarded-For", "Referer")
        ]
    requests.append(f"GET /{mark}\x1b[31m\xff HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")
    return [request.encode("latin-1") for request in requests]


def _no_credentials(drill: Drill) -> Judgement:
    sent = sent_credentials(drill)
    if not sent.written:
        raise Undecided("It writes nothing about these requests: see logs-access-complete.")
    if found := sent.found_in(sent.written):
        return failed(f"The log contains credentials that were sent: {', '.join(found)}.")
    return passed(f"None of the {len(sent.values)} credentials that were sent is in the log.")


def _stalled_reader(drill: Drill) -> Judgement:
    _ = logged(drill).access_lines
    with drill.instance() as instance, opened(instance) as connection:
        path = drill.config.safe_read.path or drill.service(instance).missing_path
        request = drill.request(instance, path, is_last=False)
        instance.stdout.pause()
        instance.stderr.pause()
        for number in range(_STALLED_REQUESTS):
            try:
                connection.sendall(request)
                response = receive_response(connection, time.monotonic() + drill.config.timeout_s)
            except OSError as error:
                return failed(
                    f"With nothing reading its output, request {number + 1} got no response: {error}."
                )
            if response is None or ends_connection(response):
                raise Undecided("It closes a kept connection: the row needs one.")
    return passed(f"With nothing reading its output, {_STALLED_REQUESTS} requests were answered.")


_row = partial(Row[Drill], category=Category.LOGS, command="drill", source="https://12factor.net/logs")

ROWS = (
    _row(
        id="logs-json",
        title="Each line on standard output is a JSON object",
        severity=Severity.MEDIUM,
        why="Collectors parse lines. "
        "Banners, tracebacks over several lines and lines of libraries become events without fields.",
        how="All lines on standard output, from the start on, are JSON objects, and there is at least one.",
        fix="Configure one JSON formatter for the root logger, for the server and for libraries.",
        remedies=(
            Remedy("FastAPI/uvicorn", "log_config with a JSON formatter for uvicorn and uvicorn.access."),
        ),
        judge=_json,
    ),
    _row(
        id="logs-timestamp",
        title="Each line has an RFC 3339 time with offset",
        severity=Severity.MEDIUM,
        why="Lines of several services are ordered by their times. "
        "A time without an offset is another moment on each machine.",
        source="RFC 3339, section 5.6; https://www.rfc-editor.org/rfc/rfc3339#section-5.6",
        how="One of the usual fields of each JSON line, such as `timestamp`, is such a time.",
        fix="Format times as ISO 8601 in UTC, with Z or +00:00.",
        remedies=(Remedy("Fastify", "pino.stdTimeFunctions.isoTime"),),
        judge=_timestamp,
    ),
    _row(
        id="logs-level",
        title="Each line has a level",
        severity=Severity.LOW,
        why="Alerts and searches begin with the level. Lines without one are in neither.",
        how="One of the usual fields of each JSON line, such as `level` or `severity`, has a value.",
        fix="Add the level to the formatter.",
        judge=partial(_has_field, "level", _LEVELS),
    ),
    _row(
        id="logs-message",
        title="Each line has a message",
        severity=Severity.LOW,
        why="The message states what happened, in words that can be searched in the source. "
        "Lines without one cannot be grouped.",
        how="One of the usual fields of each JSON line, such as `message`, `msg` or `event`, has a value.",
        fix="Log a constant text, and what varies as fields.",
        judge=partial(_has_field, "message", _MESSAGES),
    ),
    _row(
        id="logs-access-complete",
        title="Each request makes one access line",
        severity=Severity.HIGH,
        why="What happened to a certain request is the question of each incident. "
        "Sampled or doubled lines answer it wrongly.",
        how=f"{REQUESTS} requests make {REQUESTS} JSON lines that contain their method and status.",
        fix="Log one line at the end of each request, in the outermost layer.",
        judge=_complete,
    ),
    _row(
        id="logs-request-id",
        title="Access lines have a request id",
        severity=Severity.MEDIUM,
        why="A client reports the id of a failed request. "
        "Without it in the log, the request has to be guessed by its time.",
        how="Each access line has a value of its own in a usual field such as `request_id`.",
        fix="Read or generate the id in a middleware, log it, and return it in `X-Request-ID`.",
        judge=_request_id,
    ),
    _row(
        id="logs-trace-id",
        title="Access lines have a trace id",
        severity=Severity.MEDIUM,
        why="The trace id leads from a line to the trace, and to lines of other services. "
        "Without it, both are searched by time.",
        source="https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/",
        how="Requests have a `traceparent` each; each access line has a trace id of its own.",
        fix="Add the trace id of the current span to each line.",
        judge=_trace_id,
    ),
    _row(
        id="logs-forgery",
        title="Clients cannot forge or break lines",
        severity=Severity.HIGH,
        why="A line that a client has written hides an attack, or accuses another. "
        "Control sequences run in the terminals of readers.",
        source="OWASP Logging Cheat Sheet; CWE-117",
        how="CR, LF, ANSI sequences and invalid UTF-8 are sent in paths, queries and headers. No line begins "
        "with the forged text, no sequence and no invalid byte is in the output.",
        fix="Write values of clients as JSON strings only, also in messages and in lines of the server.",
        judge=_forgery,
        is_attack=True,
    ),
    _row(
        id="logs-no-credentials",
        title="No credential that was sent is in the log",
        severity=Severity.CRITICAL,
        why="Logs are read by more people, and kept longer, than credentials may be. "
        "Tokens in them can be used by every reader.",
        source="OWASP Logging Cheat Sheet: Data to exclude",
        how="Credentials are sent in headers, cookies, queries, bodies and user-info, to an existing and a "
        "missing path. None of their values is in the output.",
        fix="Log paths without the query, and no headers and bodies.",
        judge=_no_credentials,
    ),
    _row(
        id="logs-stalled-reader",
        title="A stalled reader of the log does not stall the service",
        severity=Severity.HIGH,
        why="A collector that hangs leaves the pipe full. "
        "A service that writes its log in the request then answers no request any more.",
        how=f"Nothing reads its output, whose pipes hold 4 KiB, while {_STALLED_REQUESTS} requests are sent "
        "on one connection: all are answered.",
        fix="Write the log in a thread, with a bounded queue that drops lines and counts them.",
        remedies=(Remedy("Fastify", "pino.destination({ sync: false }), or a transport."),),
        judge=_stalled_reader,
    ),
)
