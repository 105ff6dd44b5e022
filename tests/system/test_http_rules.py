"""Responses that RFC 9110 and 9112 require of a server, and the reports of each request.

The status on the wire, in the access log, in the metric and in the span must be one value: otherwise clients
can raise the error rate of a proxy while that of the service does not move.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from starkeel_testing import OtlpReceiver, Service, running, wait_until

from ..support.raw_http import Connection
from .http_cases import APPLICATION, SERVER, Case, get, names, request
from .http_limit_cases import HOSTS, LIMITS


@pytest.fixture(scope="module")
def otlp() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def sample(otlp: OtlpReceiver) -> Iterator[Service]:
    env = {
        "PYTHONPATH": str(Path(__file__).parent),
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "LOG_LEVEL": "debug",
        "ALLOWED_HOSTS": HOSTS,
    }
    with running("protocol_sample", env) as service:
        yield service


def counted(sample: Service) -> dict[str, float]:
    """Return the requests so far by status, without the probes of the tests themselves."""
    found: dict[str, float] = {}
    for each in sample.metrics():
        if each.name == "http_requests_total" and not each.labels["path"].startswith("/health/"):
            found[each.labels["status"]] = found.get(each.labels["status"], 0.0) + each.value
    return {status: value for status, value in found.items() if value}


def exchange(sample: Service, case: Case, request_id: str) -> None:
    """Send a request, and check the response and the connection."""
    method = case.request.split()[0]
    with Connection(sample.url) as connection:
        connection.send(case.request.replace(b"@ID@", request_id.encode()), is_last=case.is_half_closed)
        reply = connection.reply(has_body=method != b"HEAD")
        assert reply.status == case.status, reply
        assert {name: reply.headers.get(name) for name in case.headers} == case.headers
        # RFC 9110, 6.6.1.
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", reply.headers["date"])
        is_http_1_0 = b" HTTP/1.0\r\n" in case.request
        if case.closes is None:
            return
        assert connection.is_closed() is case.closes
        # A response that needs no body may start before the client's end of the connection is seen.
        is_end_seen = not case.is_half_closed or case.status == 400
        if case.closes and not is_http_1_0 and is_end_seen:
            # RFC 9112, 9.6.
            assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("case", [*APPLICATION, *LIMITS], ids=names([*APPLICATION, *LIMITS]))
def test_one_status_is_sent_logged_counted_and_traced(
    sample: Service, otlp: OtlpReceiver, case: Case
) -> None:
    request_id = uuid4().hex
    before = counted(sample)

    exchange(sample, case, request_id)

    line = sample.wait_for_log("request completed", request_id=request_id)
    assert line["status"] == case.status, line
    is_health = line["path"].startswith("/health/")
    if not is_health:
        after = {**before, str(case.status): before.get(str(case.status), 0.0) + 1}
        wait_until(
            lambda: counted(sample) == after, timeout_s=10, what=lambda: f"{after}, not {counted(sample)}"
        )
        [span] = otlp.wait_for(bool, trace_id=line["trace_id"])
        assert span.attributes["http.response.status_code"] == case.status


@pytest.mark.parametrize("case", SERVER, ids=names(SERVER))
def test_requests_that_the_http_library_refuses_are_not_reported(sample: Service, case: Case) -> None:
    request_id, next_id = uuid4().hex, uuid4().hex
    before = counted(sample)

    exchange(sample, case, request_id)

    exchange(sample, Case("", get("/items/1"), 200), next_id)
    sample.wait_for_log("request completed", request_id=next_id)
    assert [line for line in sample.logs() if line.get("request_id") == request_id] == []
    after = {**before, "200": before.get("200", 0.0) + 1}
    wait_until(lambda: counted(sample) == after, timeout_s=10, what=lambda: f"{after}, not {counted(sample)}")


@pytest.mark.parametrize("path", ["/items/1", "/names/a", "/nothing", "/schema/openapi.json", "/files/a"])
def test_head_has_the_headers_of_get(sample: Service, path: str) -> None:
    varying = {"date", "x-request-id"}
    got, head = (sample.client.request(method, path) for method in ("GET", "HEAD"))

    assert head.content == b""
    assert (head.status_code, {n: v for n, v in head.headers.items() if n not in varying}) == (
        got.status_code,
        {n: v for n, v in got.headers.items() if n not in varying},
    )


def test_the_application_of_a_head_ends_when_the_headers_are_sent(sample: Service) -> None:
    exchange(sample, Case("9110 9.3.2", request("HEAD", "/events"), 200), uuid4().hex)

    sample.wait_for_log("events ended")
