"""Request id, access log line and metrics of requests."""

import re
import socket
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

REQUESTS = "http_requests_total"
DURATIONS = "http_requests_duration_seconds_count"


def test_a_request_is_one_line_with_its_facts(sample: Any) -> None:
    response = sample.get("/items/7", **{"X-Request-ID": "one-line"})

    line = sample.wait_for_log("request completed", request_id="one-line")
    assert response.status_code == 200
    expected = {
        "method": "GET",
        "path": "/items/7",
        "route": "/items/{item_id}",
        "status": 200,
        "level": "INFO",
    }
    assert expected.items() <= line.items()
    assert line["bytes"] == len(response.content)
    assert line["client"] == "127.0.0.1"
    assert line["duration_ms"] > 0
    assert len(sample.found("request completed", request_id="one-line")) == 1


def test_only_lines_of_a_request_have_its_ids(sample: Any) -> None:
    sample.get("/items/8", **{"X-Request-ID": "shared"})

    completed = sample.wait_for_log("request completed", request_id="shared")
    seen = sample.wait_for_log("item seen", item_id=8)
    for name in ("request_id", "trace_id", "span_id"):
        assert seen[name] == completed[name]
    assert re.fullmatch(r"[0-9a-f]{32}", seen["trace_id"])
    assert re.fullmatch(r"[0-9a-f]{16}", seen["span_id"])
    assert "request_id" not in sample.wait_for_log("listening")


def test_fields_bound_in_a_request_are_not_in_the_next_on_its_connection(sample: Any) -> None:
    with httpx2.Client(base_url=sample.url) as client:
        client.get("/forbidden", headers={"X-Request-ID": "bound"})
        client.get("/pid", headers={"X-Request-ID": "unbound"})

    assert sample.wait_for_log("request completed", request_id="bound")["user_id"] == "u-1"
    assert "user_id" not in sample.wait_for_log("request completed", request_id="unbound")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pid", 200),
        ("/forbidden", 401),
        ("/nowhere", 404),
        ("/items/x", 404),
        ("/fails", 500),
        ("/away", 503),
    ],
)
def test_every_response_has_the_request_id(sample: Any, path: str, status: int) -> None:
    given = sample.get(path, **{"X-Request-ID": "Given.id_1-2"})
    made = sample.get(path)

    assert (given.status_code, made.status_code) == (status, status)
    assert given.headers.get_list("x-request-id") == ["Given.id_1-2"]
    assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])


@pytest.mark.parametrize("bad", ["", "a" * 129, "a b", "a;b", "ä", "<script>", '"'])
def test_an_invalid_request_id_is_replaced(sample: Any, bad: str) -> None:
    response = httpx2.get(f"{sample.url}/pid", headers={b"X-Request-ID": bad.encode()})

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_two_request_ids_are_replaced(sample: Any) -> None:
    response = httpx2.get(f"{sample.url}/pid", headers=[("X-Request-ID", "one"), ("X-Request-ID", "two")])

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/items/1", {"method": "GET", "path": "/items/{item_id}", "status": "200"}),
        ("GET", "/nowhere/at/all", {"method": "GET", "path": "__unmatched__", "status": "404"}),
        ("PUT", "/items/1", {"method": "PUT", "path": "/items/{item_id}", "status": "405"}),
        ("BREW", "/items/1", {"method": "_OTHER", "path": "/items/{item_id}", "status": "501"}),
        ("BREW", "/nowhere", {"method": "_OTHER", "path": "__unmatched__", "status": "501"}),
        ("GET", "/fails", {"method": "GET", "path": "/fails", "status": "500"}),
        ("GET", "/away", {"method": "GET", "path": "/away", "status": "503"}),
        ("GET", "/health/live", {"method": "GET", "path": "/health/live", "status": "200"}),
    ],
)
def test_every_request_is_counted_by_route_template(
    sample: Any, method: str, path: str, labels: dict[str, str]
) -> None:
    before = sample.metric(REQUESTS, **labels), sample.metric(DURATIONS, **labels)

    httpx2.request(method, sample.url + path)

    sample.wait_for_metric(before[0] + 1, REQUESTS, **labels)
    sample.wait_for_metric(before[1] + 1, DURATIONS, **labels)


def test_labels_never_contain_client_data(sample: Any) -> None:
    before = sample.metric(REQUESTS, path="__unmatched__")
    for path in ("/items/987654321", "/made-up-by-a-client"):
        sample.get(path)

    sample.wait_for_metric(before + 1, REQUESTS, path="__unmatched__")
    page = httpx2.get(f"{sample.admin}/metrics").text
    assert "987654321" not in page
    assert "made-up" not in page


def test_health_checks_are_counted_but_not_logged(sample: Any) -> None:
    response = sample.get("/health/live", **{"X-Request-ID": "probe"})
    sample.get("/pid", **{"X-Request-ID": "after-probe"})

    sample.wait_for_log("request completed", request_id="after-probe")
    assert response.headers["x-request-id"] == "probe"
    assert not sample.found("request completed", request_id="probe")


def test_health_checks_are_recognized_by_path_not_by_route(sample: Any) -> None:
    assert sample.get("/health/fine", **{"X-Request-ID": "probe-of-another"}).text == "fine"
    sample.get("/other/fine", **{"X-Request-ID": "no-probe"})

    sample.wait_for_log("request completed", request_id="no-probe")
    assert not sample.found("request completed", request_id="probe-of-another")


def test_an_event_stream_without_events_is_not_slow(samples: Any) -> None:
    sample = samples.ready(LOG_SLOW_REQUEST_SECONDS="0.1")

    assert sample.get("/silent", **{"X-Request-ID": "silent"}).text == ""
    sample.get("/slow?seconds=0.3", **{"X-Request-ID": "slow"})

    assert sample.wait_for_log("request completed", request_id="slow")["level"] == "WARN"
    assert sample.wait_for_log("request completed", request_id="silent")["level"] == "INFO"


def test_health_checks_are_logged_at_debug(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL="info,starkeel_observability.access=debug")

    sample.get("/health/live", **{"X-Request-ID": "probe"})

    line = sample.wait_for_log("request completed", request_id="probe")
    assert line["level"] == "DEBUG"
    assert "trace_id" not in line


def test_an_unexpected_error_is_logged_with_its_stack_once(sample: Any) -> None:
    sample.get("/fails", **{"X-Request-ID": "failing"})

    completed = sample.wait_for_log("request completed", request_id="failing")
    assert (completed["level"], completed["error_type"]) == ("ERROR", "ValueError")
    (failed,) = sample.found("request failed", request_id="failing")
    assert failed["exception"]["type"] == "ValueError"
    assert failed["exception"]["message"] == "b***@example.com cannot pay"
    assert "in fails" in failed["exception"]["stack"]
    assert "bob@example.com" not in sample.output


def test_an_expected_error_has_no_stack(sample: Any) -> None:
    sample.get("/away", **{"X-Request-ID": "meant"})

    completed = sample.wait_for_log("request completed", request_id="meant")
    assert completed["error_type"] == "litestar.exceptions.http_exceptions.ServiceUnavailableException"
    assert not sample.found("request failed", request_id="meant")


def test_an_aborted_response_is_logged_as_an_error(sample: Any) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        sample.get("/half", **{"X-Request-ID": "half"})

    completed = sample.wait_for_log("request completed", request_id="half")
    assert (completed["level"], completed["status"], completed["error_type"]) == (
        "ERROR",
        200,
        "RuntimeError",
    )
    assert sample.found("request failed", request_id="half")


def test_a_client_that_disconnects_early_is_499(sample: Any) -> None:
    labels = {"method": "GET", "path": "/slow", "status": "499"}
    before = sample.metric(REQUESTS, **labels)

    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{sample.url}/slow?seconds=1.5", headers={"X-Request-ID": "gave-up"}, timeout=0.5)

    line = sample.wait_for_log("request completed", request_id="gave-up")
    # The request ended with its client, before it was slow.
    assert (line["status"], line["level"]) == (499, "INFO")
    sample.wait_for_metric(before + 1, REQUESTS, **labels)


def test_a_slow_response_reaches_a_client_that_waits(sample: Any) -> None:
    response = sample.get("/slow?seconds=0.3", **{"X-Request-ID": "patient"})

    assert response.text == "done"
    assert sample.wait_for_log("request completed", request_id="patient")["status"] == 200


def test_an_aborted_download_is_499(sample: Any) -> None:
    with httpx2.stream("GET", f"{sample.url}/download", headers={"X-Request-ID": "broken-off"}) as response:
        chunks = response.iter_bytes()
        next(chunks)

    assert sample.wait_for_log("request completed", request_id="broken-off")["status"] == 499


def test_leaving_an_event_stream_is_not_an_error(sample: Any) -> None:
    with httpx2.stream("GET", f"{sample.url}/events", headers={"X-Request-ID": "left"}) as response:
        chunks = response.iter_bytes()
        next(chunks)
        sample.wait_for_metric(1, "http_requests_in_flight")

    assert sample.wait_for_log("request completed", request_id="left")["status"] == 200
    sample.wait_for_metric(0, "http_requests_in_flight")


@pytest.mark.parametrize("size", [0, 10, 900_000])
def test_a_body_is_complete_while_disconnects_are_watched(sample: Any, size: int) -> None:
    body = b"x" * size

    response = httpx2.post(f"{sample.url}/echo", content=body)

    assert response.content == body


def test_a_late_body_is_complete(sample: Any) -> None:
    host, port = sample.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhello"
        )
        # Longer than the delay after which disconnects are watched; the handler waits for the rest.
        assert httpx2.get(f"{sample.url}/slow?seconds=0.3").status_code == 200
        client.sendall(b"world")
        response = b"".join(iter(lambda: client.recv(4096), b""))

    assert response.endswith(b"helloworld")


def test_a_websocket_is_101_when_its_connection_ends(sample: Any) -> None:
    labels = {"method": "GET", "path": "/live", "status": "101"}
    before = sample.metric(REQUESTS, **labels)

    url = sample.url.replace("http", "ws")
    with connect(f"{url}/live", additional_headers={"X-Request-ID": "socket"}) as client:
        client.send("hello")
        assert client.recv() == "hello"
        sample.wait_for_metric(1, "http_requests_in_flight")
        assert sample.metric(REQUESTS, **labels) == before

    line = sample.wait_for_log("request completed", request_id="socket")
    assert (line["method"], line["route"], line["status"], line["level"]) == ("GET", "/live", 101, "INFO")
    assert line["bytes"] == 5
    sample.wait_for_metric(before + 1, REQUESTS, **labels)
    sample.wait_for_metric(0, "http_requests_in_flight")


@pytest.mark.parametrize(("path", "route"), [("/refused", "/refused"), ("/nowhere", None)])
def test_a_refused_websocket_has_the_status_of_its_handshake(
    sample: Any, path: str, route: str | None
) -> None:
    request_id = f"refused-{path[1:]}"
    url = sample.url.replace("http", "ws") + path

    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers={"X-Request-ID": request_id}),
    ):
        pass

    line = sample.wait_for_log("request completed", request_id=request_id)
    assert line["status"] == refused.value.response.status_code == 403
    assert line.get("route") == route
