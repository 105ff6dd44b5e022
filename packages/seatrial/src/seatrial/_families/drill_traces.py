"""Rows about the traces of a service, which it sends to a collector of seatrial's own."""

import time
from functools import partial

from .._drill.credentials import sent_credentials
from .._drill.drill import Drill
from .._drill.spans import Span
from .._drill.traced import REQUESTS, shown, traced, traced_path
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed

_METHODS = ("http.request.method", "http.method")
_REQUIRED = ("http.request.method", "url.path", "url.scheme", "http.response.status_code")
_SPECIFICATION = "https://opentelemetry.io/docs/specs/semconv/http/http-spans/"
_SLOWER_S = 1.0
_EXPORTED_REQUESTS = 20


def _continued(drill: Drill) -> Judgement:
    found = traced(drill, traced_path(drill))
    spans = found.arrived
    strange = [span for span in spans if found.parents.get(span.trace_id) != span.parent_id]
    if strange:
        return failed(
            f"{len(strange)} of {len(spans)} spans are not children of the span in `traceparent`.",
            shown(strange),
        )
    return passed(f"{len(spans)} spans continue the trace of their request.", shown(spans[:1]))


def _one_span(drill: Drill) -> Judgement:
    spans = traced(drill, traced_path(drill)).spans
    if not spans:
        return failed(
            "No server span arrived at OTEL_EXPORTER_OTLP_ENDPOINT (http/protobuf, or http/json).",
            Evidence("endpoint", drill.collector.url),
        )
    if len(spans) != REQUESTS:
        return failed(f"{REQUESTS} requests made {len(spans)} server spans.", shown(spans))
    return passed(f"{REQUESTS} requests made {len(spans)} server spans.")


def _name(drill: Drill) -> Judgement:
    def is_named(span: Span) -> bool:
        route = span.first("http.route")
        return bool(route) and span.name == f"{span.first(*_METHODS)} {route}"

    spans = traced(drill, traced_path(drill)).arrived
    wrong = [span for span in spans if not is_named(span)]
    if wrong:
        return failed(f"The name {wrong[0].name!r} is not the method and `http.route`.", shown(wrong))
    return passed(f"The name is {spans[0].name!r}.")


def _attributes(drill: Drill) -> Judgement:
    spans = traced(drill, traced_path(drill)).arrived
    for span in spans:
        if missing := [name for name in _REQUIRED if name not in span.attributes]:
            return failed(f"A span has no {', '.join(missing)}.", shown([span]))
        if not isinstance(span.attributes["http.response.status_code"], int):
            return failed("`http.response.status_code` is no number.", shown([span]))
    return passed("Spans have the required attributes.", shown(spans[:1]))


def _no_credentials(drill: Drill) -> Judgement:
    sent = sent_credentials(drill)
    if not sent.spans:
        raise Undecided("No span of these requests arrived: see traces-one-span.")
    if found := sent.found_in(sent.telemetry.encode()):
        return failed(f"Spans contain credentials that were sent: {', '.join(found)}.")
    return passed(f"None of the {len(sent.values)} credentials that were sent is in {sent.spans} spans.")


def _error_status(drill: Drill) -> Judgement:
    missing = traced(drill, drill.service(drill.calm).missing_path)
    if missing.status != 404:
        raise Undecided(f"A missing path is answered {missing.status}, not 404.")
    wrong = [span for span in missing.arrived if span.is_error]
    if wrong:
        return failed("The span of a 404 is an error.", shown(wrong))
    if not drill.keys.error_path:
        raise Undecided("Set drill.error_path to a GET that is answered with a 5xx status in seatrial.toml.")
    broken = traced(drill, drill.keys.error_path)
    if broken.status < 500:
        raise Undecided(f"GET {broken.path} is answered {broken.status}: correct drill.error_path.")
    wrong = [span for span in broken.arrived if not span.is_error]
    if wrong:
        return failed(f"The span of a {broken.status} is no error.", shown(wrong))
    return passed(f"The span of a {broken.status} is an error, and that of a 404 is none.")


def _collector_away(drill: Drill) -> Judgement:
    path = traced_path(drill)
    _ = traced(drill, path).arrived
    with drill.instance(is_traced=True) as instance:
        client = drill.service(instance).client
        headers = drill.authorization(instance)
        usual = client.get(path, headers=headers).status
        for state, begin, end in (
            ("refuses connections", drill.collector.stop, drill.collector.start),
            ("does not answer", drill.collector.stall, drill.collector.recover),
        ):
            begin()
            try:
                for _ in range(_EXPORTED_REQUESTS):
                    started = time.monotonic()
                    status = client.get(path, headers=headers).status
                    seconds = time.monotonic() - started
                    if status != usual:
                        return failed(f"While the collector {state}, GET {path} is answered {status}.")
                    if seconds > _SLOWER_S:
                        return failed(f"While the collector {state}, GET {path} takes {seconds:.2f} s.")
            finally:
                end()
    return passed("A collector that refuses connections, or does not answer, changes no response.")


_row = partial(Row[Drill], category=Category.TRACES, command="drill", source=_SPECIFICATION)
_PYTHON = "FastAPI/uvicorn"
_FASTIFY = "Fastify"

ROWS = (
    _row(
        id="traces-one-span",
        title="Each request makes one server span",
        severity=Severity.MEDIUM,
        why="A trace without the server's part ends at its border. "
        "Two spans for one request double rates that are computed from them.",
        how=f"{REQUESTS} requests make {REQUESTS} spans of kind SERVER at a collector of seatrial's own, to "
        "which OTEL_EXPORTER_OTLP_ENDPOINT points.",
        fix="Instrument the service with OpenTelemetry, once: by the framework or by the server.",
        remedies=(
            Remedy(_PYTHON, "opentelemetry-instrument, or FastAPIInstrumentor.instrument_app(app)."),
            Remedy(_FASTIFY, "@fastify/otel, without the instrumentation of http."),
        ),
        judge=_one_span,
    ),
    _row(
        id="traces-continued",
        title="The trace of `traceparent` is continued",
        severity=Severity.MEDIUM,
        why="One trace shows a request through all services only if each continues it. "
        "A new trace in each is a pile of parts.",
        source="https://www.w3.org/TR/trace-context/",
        how="Requests have a sampled `traceparent`; the server span has its trace id, and its span id as "
        "parent.",
        fix="Use the W3C propagator. Services that trust certain networks only need to trust loopback here.",
        judge=_continued,
    ),
    _row(
        id="traces-name",
        title="Spans are named by method and route",
        severity=Severity.MEDIUM,
        why="Traces are searched and counted by name. A name with identifiers is a name for each request.",
        how="The name is `{method} {http.route}`.",
        fix="Set `http.route` to the template of the route, and name the span after it.",
        judge=_name,
    ),
    _row(
        id="traces-attributes",
        title="Spans have the attributes of the semantic conventions",
        severity=Severity.LOW,
        why="Dashboards and searches rely on common names. "
        "Names of the old conventions are not found by new ones.",
        how=f"Each server span has {', '.join(_REQUIRED)}, and the status is a number.",
        fix="Update the instrumentation to the stable conventions of HTTP.",
        remedies=(Remedy(_PYTHON, "OTEL_SEMCONV_STABILITY_OPT_IN=http"),),
        judge=_attributes,
    ),
    _row(
        id="traces-no-credentials",
        title="No credential that was sent is in a span",
        severity=Severity.CRITICAL,
        why="Traces are kept by a third party more often than not. Queries and headers contain tokens.",
        source="OWASP Logging Cheat Sheet: Data to exclude",
        how="Credentials are sent in headers, cookies, queries, bodies and user-info. None of their values "
        "is in the name, attributes or events of a span.",
        fix="Leave the query out of spans, or redact it; capture no headers by default.",
        judge=_no_credentials,
    ),
    _row(
        id="traces-error-status",
        title="Spans are errors for 5xx only",
        severity=Severity.MEDIUM,
        why="The share of errors is computed from the status of spans. "
        "Faults of clients in it hide those of the service.",
        how="The span of a 404 has no error status; that of drill.error_path, which is answered 5xx, has "
        "one.",
        fix="Set the status to error for 5xx and unhandled exceptions only.",
        judge=_error_status,
    ),
    _row(
        id="traces-collector-away",
        title="A dead collector changes no response",
        severity=Severity.HIGH,
        why="Telemetry must not be a dependency. An exporter in the request fails it, or makes it wait.",
        how="The collector refuses connections, and then accepts without an answer: requests have the same "
        f"status as before, within {_SLOWER_S:g} s.",
        fix="Export in the background, in batches, with a bounded queue.",
        remedies=(Remedy(_PYTHON, "BatchSpanProcessor instead of SimpleSpanProcessor."),),
        judge=_collector_away,
    ),
)
