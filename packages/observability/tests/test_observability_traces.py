"""Spans as a collector receives them."""

import re
import signal
import socket
import time
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
SERVER_KIND = 2
ERROR = 2


@pytest.fixture
def traced(samples: Any, collector: Any) -> Any:
    return samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)


def test_a_request_is_a_span_in_its_callers_trace(traced: Any, collector: Any) -> None:
    response = traced.get(
        "/items/3?secret=x", traceparent=TRACEPARENT, tracestate="vendor=1", baggage="tenant=blue"
    )

    span = collector.wait_for(name="GET /items/{item_id}")
    assert (span["trace_id"], span["parent_span_id"], span["kind"]) == (TRACE_ID, PARENT_ID, SERVER_KIND)
    host, port = traced.url.removeprefix("http://").split(":")
    assert span["attributes"] == {
        "http.request.method": "GET",
        "http.route": "/items/{item_id}",
        "http.response.status_code": 200,
        "url.path": "/items/3",
        "url.scheme": "http",
        "server.address": host,
        "server.port": int(port),
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": f"python-httpx2/{httpx2.__version__}",
    }
    assert span["status"] == 0
    line = traced.wait_for_log("item seen")
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, span["span_id"])
    passed_on = response.json()
    assert passed_on["traceparent"].startswith(f"00-{TRACE_ID}-{span['span_id']}-")
    assert (passed_on["tracestate"], passed_on["baggage"]) == ("vendor=1", "tenant=blue")


def test_successes_of_a_quiet_route_are_counted_and_traced_but_not_logged(
    traced: Any, collector: Any
) -> None:
    labels = {"method": "GET", "path": "/polled"}
    response = traced.get("/polled", **{"X-Request-ID": "quiet"})
    traced.get("/polled?is_refused=true", **{"X-Request-ID": "refused-poll"})

    assert traced.wait_for_log("request completed", request_id="refused-poll")["status"] == 401
    assert traced.found("request completed", request_id="quiet") == []
    traced.wait_for_metric(1, "http_requests_total", **labels, status="200")
    trace_id, span_id = response.json()["traceparent"].split("-")[1:3]
    assert collector.wait_for(trace_id=trace_id)["span_id"] == span_id


def test_an_unsampled_parent_is_followed(traced: Any, collector: Any) -> None:
    traced.get("/items/1", traceparent=TRACEPARENT[:-1] + "0")
    traced.get("/items/2")

    span = collector.wait_for(name="GET /items/{item_id}")
    assert span["trace_id"] != TRACE_ID
    assert traced.wait_for_log("item seen", item_id=1)["trace_id"] == TRACE_ID


@pytest.mark.parametrize("broken", ["", "nonsense", f"00-{'0' * 32}-{PARENT_ID}-01", "00-xyz-1-01"])
def test_an_invalid_traceparent_is_ignored(sample: Any, broken: str) -> None:
    request_id = f"broken-{len(broken)}"

    assert sample.get("/items/1", traceparent=broken, **{"X-Request-ID": request_id}).status_code == 200

    trace_id = sample.wait_for_log("request completed", request_id=request_id)["trace_id"]
    assert re.fullmatch("[0-9a-f]{32}", trace_id)
    assert trace_id != "0" * 32


def test_unmatched_requests_have_no_route(traced: Any, collector: Any) -> None:
    traced.get("/nowhere")
    httpx2.request("BREW", f"{traced.url}/nowhere")

    span = collector.wait_for(name="GET")
    assert "http.route" not in span["attributes"]
    assert (span["attributes"]["http.response.status_code"], span["status"]) == (404, 0)
    other = collector.wait_for(name="HTTP")["attributes"]
    assert (other["http.request.method"], other["http.request.method_original"]) == ("_OTHER", "BREW")


def test_a_server_error_is_an_error_of_the_span(traced: Any, collector: Any) -> None:
    traced.get("/fails")
    traced.get("/away")
    traced.get("/forbidden")

    failed = collector.wait_for(name="GET /fails")
    assert (failed["status"], failed["attributes"]["error.type"]) == (ERROR, "ValueError")
    (event,) = failed["events"]
    assert (event["name"], event["exception.type"]) == ("exception", "ValueError")
    assert event["exception.message"] == "b***@example.com cannot pay"
    assert "bob@example.com" not in event["exception.stacktrace"]
    assert collector.wait_for(name="GET /away")["status"] == ERROR
    assert collector.wait_for(name="GET /forbidden")["status"] == 0


def test_websockets_and_aborted_requests_have_spans(traced: Any, collector: Any) -> None:
    with connect(traced.url.replace("http", "ws") + "/live"):
        pass
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{traced.url}/slow?seconds=1.5", timeout=0.5)

    live = collector.wait_for(name="GET /live")
    assert (live["attributes"]["http.response.status_code"], live["status"]) == (101, 0)
    slow = collector.wait_for(name="GET /slow")
    assert (slow["attributes"]["http.response.status_code"], slow["status"]) == (499, 0)


def test_health_checks_and_exports_have_no_spans(traced: Any, collector: Any) -> None:
    traced.get("/health/live")
    traced.get("/pid")

    collector.wait_for(name="GET /pid")
    assert traced.stop() == 0
    assert {span["name"] for span in collector.spans} == {"GET /pid"}


def test_spans_have_a_resource(samples: Any, collector: Any) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.endpoint}/somewhere/else",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20hunter2,x-tenant=blue",
        OTEL_SERVICE_NAME="shop",
        SERVICE_VERSION="1.2.3",
        OTEL_RESOURCE_ATTRIBUTES="team=a%2Cb,deployment.environment.name=staging",
    )
    sample.get("/pid")

    resource = collector.wait_for(name="GET /pid")["resource"]
    expected = {
        "service.name": "shop",
        "service.version": "1.2.3",
        "deployment.environment.name": "staging",
        "team": "a,b",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "starkeel",
    }
    assert expected.items() <= resource.items()
    assert resource["service.instance.id"]
    (request, *_) = collector.requests
    assert request["path"] == "/somewhere/else"
    assert (request["authorization"], request["x-tenant"]) == ("Bearer hunter2", "blue")
    assert "hunter2" not in sample.output


@pytest.mark.parametrize(
    ("sampler", "caller", "is_sent"),
    [
        ("always_off", "01", False),
        ("parentbased_always_off", "01", True),
        ("always_on", "00", True),
        ("traceidratio", "01", False),
    ],
)
def test_samplers_decide_what_is_sent(
    samples: Any, collector: Any, sampler: str, caller: str, is_sent: bool
) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="0",
    )
    sample.get("/pid", traceparent=TRACEPARENT[:-2] + caller)

    assert sample.stop() == 0
    assert [span["name"] for span in collector.spans] == (["GET /pid"] if is_sent else [])


def test_remaining_spans_are_sent_at_shutdown(samples: Any, collector: Any) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="600000", WORKERS=2
    )
    for _ in range(20):
        sample.get("/pid")

    assert sample.stop() == 0
    assert len(collector.spans) == 20


def test_a_disabled_sdk_propagates_traces_without_spans(samples: Any, collector: Any) -> None:
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_SDK_DISABLED="true")
    passed_on = sample.get("/items/1", traceparent=TRACEPARENT).json()
    sample.get("/items/2")

    assert passed_on["traceparent"].startswith(f"00-{TRACE_ID}-")
    assert sample.wait_for_log("item seen", item_id=1)["trace_id"] == TRACE_ID
    assert "trace_id" not in sample.wait_for_log("item seen", item_id=2)
    assert sample.stop() == 0
    assert collector.requests == []


@pytest.mark.parametrize("status", [400, 503])
def test_a_failing_collector_fails_no_request_and_is_logged_rarely(
    samples: Any, collector: Any, status: int
) -> None:
    collector.status = status
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="500")

    def keeps_trying() -> bool:
        assert sample.get("/pid").status_code == 200
        return len(collector.requests) >= 4

    samples.wait_until(keeps_trying, what="four batches")

    reason = "refused" if status == 400 else "unavailable"
    samples.wait_until(lambda: sample.metric("starkeel_spans_dropped_total", reason=reason) > 1)
    assert len(sample.found("spans dropped", error=f"status {status}")) == 1


def test_an_unreachable_collector_delays_neither_requests_nor_shutdown(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=url, SHUTDOWN_FLUSH_SECONDS="1")
    for _ in range(50):
        assert sample.get("/pid").status_code == 200

    assert sample.stop() == 0


def test_a_stalled_collector_delays_shutdown_by_the_flush_timeout_at_most(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=url, SHUTDOWN_FLUSH_SECONDS="1")
        assert sample.get("/pid").status_code == 200
        connection, _ = silent.accept()
        with connection:
            assert sample.get("/pid").status_code == 200
            sample.process.send_signal(signal.SIGTERM)
            # Without a deadline, one attempt takes ten seconds.
            began = time.monotonic()
            assert sample.wait() == 0
            took_s = time.monotonic() - began

    assert sample.found("spans not sent in time")
    # Below the 10 s of the export timeout: it did not wait for the collector.
    assert took_s < 9
