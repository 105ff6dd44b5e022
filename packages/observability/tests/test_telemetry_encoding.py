"""Encoding of spans equals that of OpenTelemetry's encoder; rendering of access log lines."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from starkeel_asgi import ExchangeConfig, HttpExchange
from starkeel_observability._logs import access_line
from starkeel_observability._logs.sanitize import encodable, mask
from starkeel_observability._request.request import (
    LONGEST_PATH,
    ClientInfo,
    RequestRecord,
    RequestTemplate,
    are_plain,
    method_label,
    request_ids,
)
from starkeel_observability._traces.otlp_encoding import encode_request, encode_resource
from starkeel_observability._traces.server_span import ServerSpan, encode_ended
from starkeel_observability._traces.span import InstrumentationScope as OwnScope
from starkeel_observability._traces.span import RecordedSpan, SpanOutput

SHORT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
# Lengths that take one, two and three bytes.
LONG = st.builds(str.__mul__, st.sampled_from(["a", "\u00e9"]), st.sampled_from([63, 64, 127, 128, 9000]))
NAME = SHORT | LONG
TEXT = st.just("") | NAME
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALAR: Any = st.one_of(TEXT, st.booleans(), INT64, st.floats(allow_nan=False), st.binary(max_size=40))
LISTS = st.lists(SCALAR, max_size=3).map(tuple)
VALUE: Any = st.one_of(SCALAR, LISTS, st.dictionaries(SHORT, SCALAR | LISTS, max_size=2))
ATTRIBUTES = st.dictionaries(NAME, VALUE, max_size=4)
PLAIN = st.dictionaries(NAME, TEXT | INT64 | st.booleans(), max_size=4)
TRACE_ID = st.integers(1, 2**128 - 1)
SPAN_ID = st.integers(1, 2**64 - 1)
IDS = st.binary(min_size=24, max_size=24)
NANOSECONDS = st.integers(1, 2**63)
COUNT = st.integers(0, 2**32 - 1)
STATE = st.lists(
    st.tuples(
        st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
        st.from_regex(r"[a-zA-Z0-9]{1,9}", fullmatch=True),
    ),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(TraceState)
CONTEXT = st.builds(SpanContext, TRACE_ID, SPAN_ID, st.booleans(), st.just(TraceFlags(1)), STATE)
SCOPE = st.tuples(NAME, TEXT, TEXT, PLAIN)

_KEY = ("GET", "/x", 200)
_TEMPLATE = RequestTemplate(_KEY, b"", access_line.template_parts(_KEY), is_fast=True)
_CLIENT = ClientInfo(None, b"", "")
_AT = 10**18 - 5 * 10**9
"""Offset for which the fifth second is 2001-09-09T01:46:40."""


def make_exchange(scope: Any) -> HttpExchange:
    """Return the exchange of a request that no server serves."""

    async def make() -> HttpExchange:
        exchange = HttpExchange(scope, _unused, _unused, ExchangeConfig())
        exchange.ids, exchange.id, exchange.id_bytes = request_ids()
        return exchange

    return asyncio.run(make())


async def _unused(*_: Any) -> Any: ...


@st.composite
def pairs(draw: Any, scopes: list[tuple[OwnScope, InstrumentationScope]], resource: Resource) -> Any:
    """The same span as a `RecordedSpan` and as the SDK's."""
    ours, theirs = draw(st.sampled_from(scopes))
    span = RecordedSpan(
        SpanOutput(ours, lambda _: None),
        draw(TEXT),
        draw(st.sampled_from(list(SpanKind))),
        ids=draw(IDS),
        attributes=draw(ATTRIBUTES),
        start_ns=draw(NANOSECONDS),
    )
    parent = draw(st.none() | CONTEXT)
    if parent is not None:
        span.parent, span.is_parent_remote = parent.span_id.to_bytes(8, "big"), parent.is_remote
    span.trace_state = draw(STATE)
    span.status = draw(st.sampled_from(list(StatusCode)))
    span.description = draw(st.none() | TEXT) if span.status is StatusCode.ERROR else None
    span.events = draw(st.none() | st.lists(st.tuples(NANOSECONDS, TEXT, ATTRIBUTES, COUNT), max_size=3))
    span.links = draw(st.none() | st.lists(st.builds(Link, CONTEXT, ATTRIBUTES), max_size=3))
    # The SDK counts dropped items itself; the counts cannot be set.
    span.end_ns = draw(NANOSECONDS)
    official = ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[_Event(*event) for event in span.events or ()],
        links=span.links or (),
        kind=span.kind,
        instrumentation_scope=theirs,
        status=Status(span.status, span.description),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )
    return span, official


class _Event(Event):
    def __init__(self, at: int, name: str, attributes: dict[str, Any], dropped: int) -> None:
        super().__init__(name, attributes, at)
        self._dropped = dropped

    @property
    def dropped_attributes(self) -> int:
        return self._dropped


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_messages_equal_those_of_the_official_encoder(data: Any) -> None:
    described = data.draw(st.lists(SCOPE, min_size=1, max_size=3, unique_by=lambda scope: scope[0]))
    scopes = [(OwnScope(*scope), InstrumentationScope(*scope)) for scope in described]
    resource = Resource(data.draw(PLAIN))
    made = data.draw(st.lists(pairs(scopes, resource), min_size=1, max_size=5))

    sent = ExportTraceServiceRequest.FromString(
        encode_request(
            [(ours.output.scope, encode_ended(ours)) for ours, _ in made],
            encode_resource(resource.attributes),
        )
    )

    assert sent == encode_spans([theirs for _, theirs in made])


def test_values_that_protobuf_cannot_hold_are_sent_as_text() -> None:
    span = RecordedSpan(
        SpanOutput(OwnScope("s", "", "", None), lambda _: None),
        "odd",
        SpanKind.INTERNAL,
        ids=b"i" * 24,
        attributes={"large": 2**70, "half": "\ud800", "one": 1, "true": True},
        start_ns=1,
    )
    span.dropped, span.dropped_events, span.dropped_links = 300, 2, 1
    span.end()

    (sent,) = (
        ExportTraceServiceRequest.FromString(encode_request([(span.output.scope, encode_ended(span))], b""))
        .resource_spans[0]
        .scope_spans[0]
        .spans
    )
    values = {pair.key: pair.value for pair in sent.attributes}
    assert (values["large"].string_value, values["half"].string_value) == (str(2**70), "\\ud800")
    assert (values["one"].int_value, values["true"].bool_value) == (1, True)
    assert (sent.dropped_attributes_count, sent.dropped_events_count, sent.dropped_links_count) == (300, 2, 1)


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_fast_and_slow_encoding_of_a_server_span_are_equal(data: Any) -> None:
    headers = data.draw(
        st.dictionaries(
            st.sampled_from([b"host", b"user-agent", b"accept"]),
            st.text(st.characters(max_codepoint=255), max_size=40).map(lambda text: text.encode("latin-1")),
        )
    )
    scope: Any = {
        "type": "http",
        "method": data.draw(st.sampled_from(["GET", "POST", "BREW"])),
        "path": "/" + data.draw(TEXT),
        "headers": list(headers.items()),
        "client": data.draw(st.none() | st.just(("192.0.2.1", 5))),
        "server": data.draw(st.none() | st.just(("127.0.0.1", 80))),
        "scheme": "http",
        "http_version": "1.1",
    }
    parent = data.draw(st.none() | CONTEXT)
    route = data.draw(st.none() | st.just("/items/{item_id}"))
    request = make_exchange(scope)
    ids = data.draw(IDS)
    key = (method_label(request.method), route, data.draw(st.integers(200, 404)))

    def sent(*, is_modified: bool) -> Any:
        output = SpanOutput(OwnScope("s", "", "", None), lambda _: None)
        span = ServerSpan(output, "", SpanKind.SERVER, ids=ids, attributes=None, start_ns=0)
        span.facts, span.headers, span.received_ns = request.facts, request.headers, request.received_ns
        if parent is not None:
            span.set_parent(parent)
        span.is_modified |= is_modified
        span.complete(key, None, (5, 7))
        # It has ended.
        span.complete(key, None, (5, 8))
        return (
            ExportTraceServiceRequest.FromString(
                encode_request([(span.output.scope, encode_ended(span))], b"")
            )
            .resource_spans[0]
            .scope_spans[0]
            .spans[0]
        )

    short, long = sent(is_modified=False), sent(is_modified=True)
    for span in (short, long):
        ordered = sorted(span.attributes, key=lambda pair: pair.key)
        del span.attributes[:]
        span.attributes.extend(ordered)
    assert short == long
    assert short.trace_id + short.span_id == ids
    assert (short.start_time_unix_nano, short.end_time_unix_nano) == (5, 7)
    assert {pair.key: pair.value.int_value for pair in short.attributes}["http.response.status_code"] == key[
        2
    ]


@given(
    path=st.text()
    | st.sampled_from(["/x;password=hunter2", "/x\n/y", "/a@example.com", "/eyJhbGciOi.x.y", '/"', "/\x9b"])
)
@settings(max_examples=300, deadline=None)
def test_the_path_in_a_line_is_redacted(path: str) -> None:
    line_path = path if are_plain([path]) else access_line.clean_path(path)
    (head,) = access_line.render_lines(
        [(_TEMPLATE, _CLIENT, line_path, 4_999_000_000, 5_000_000_000, 5, b"", "id", None)], _AT
    )
    line = json.loads(head + "}")

    assert line["path"] == encodable(mask(path[:LONGEST_PATH]))
    assert (line["status"], line["bytes"], line["duration_ms"]) == (200, 5, 1)
    assert line["timestamp"] == "2001-09-09T01:46:40.000000Z"
    assert "hunter2" not in head


@given(
    paths=st.lists(
        st.sampled_from(["/a", "/a b", "/b\n/c", "/eyJ", "/e", "yJ", "/" + 2048 * "a"]), min_size=1
    )
)
def test_paths_are_plain_if_each_is(paths: list[str]) -> None:
    assert are_plain(paths) == all(are_plain([path]) for path in paths)
    assert are_plain(["/a"])
    assert not any(are_plain([path]) for path in ["/a b", "/b\n/c", "/eyJ", "/" + 2048 * "a"])


def test_timestamps_are_correct_in_any_order() -> None:
    ends = [5_000_100_000, 4_999_900_000, 9_000_000_000, 5_000_100_000]
    records: list[RequestRecord] = [
        (_TEMPLATE, _CLIENT, "/x", end - 1000, end, 5, b"", "id", None) for end in ends
    ]

    timestamps = [json.loads(line + "}")["timestamp"] for line in access_line.render_lines(records, _AT)]

    assert [text.removeprefix("2001-09-09T01:46:") for text in timestamps] == [
        *("40.000100Z", "39.999900Z", "44.000000Z", "40.000100Z")
    ]


def test_bound_fields_stay_in_a_line_without_a_span() -> None:
    bound = {"n": {"a": 1, "trace_id": "", "span_id": ""}}
    kind = access_line.with_bound_fields(_TEMPLATE, bound)

    (line,) = access_line.render_lines([(kind, _CLIENT, "/x", 1, 2, 5, b"", "id", None)], _AT)

    fields = json.loads(line + "}")
    assert fields["n"] == bound["n"]
    assert "trace_id" not in fields
