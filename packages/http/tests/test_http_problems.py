"""Every error is a problem response without internal details."""

import httpx2
import pytest
import websockets.sync.client
from starkeel_testing import Service
from websockets.exceptions import ConnectionClosed, InvalidStatus

PROBLEM = "application/problem+json"


@pytest.mark.parametrize("path", ["/boom", "/internal"])
def test_a_500_has_no_details_and_is_logged_once(sample: Service, path: str) -> None:
    before = _failures(sample)
    response = sample.client.get(path, headers={"X-Request-ID": "abc"})

    assert (response.status_code, response.headers["content-type"]) == (500, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "instance": path,
        "request_id": "abc",
    }
    marker = f"after-{path.removeprefix('/')}"
    sample.client.get("/client", headers={"X-Request-ID": marker})
    sample.wait_for_log("request finished", path="/client", request_id=marker)
    [logged] = [line for line in sample.logs() if line["message"] == "request failed"][before:]
    assert logged["level"] == "error"
    assert logged["request_id"] == "abc"
    assert "Traceback" in logged["exception"]
    assert "hunter2" in logged["exception"]
    # Nothing else logged it.
    assert sample.output().count("hunter2") == sum(
        line["exception"].count("hunter2") for line in sample.logs() if line["message"] == "request failed"
    )


def test_the_cause_of_a_5xx_is_reported_to_telemetry(sample: Service) -> None:
    sample.client.get("/boom", headers={"X-Request-ID": "named"})
    sample.client.get("/unavailable")
    sample.client.get("/nowhere")

    sample.wait_for_log("request finished", path="/boom", request_id="named", error_type="RuntimeError")
    sample.wait_for_log("request finished", path="/unavailable", error_type="ConnectionRefusedError")
    sample.wait_for_log("request finished", path="/nowhere", error_type=None)


def test_an_http_exception_keeps_its_detail_and_headers(sample: Service) -> None:
    response = sample.client.get("/unavailable")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert response.json()["detail"] == "Try again later."
    assert "10.0.0.7" not in response.text


def test_a_custom_http_exception_keeps_its_status_and_members(sample: Service) -> None:
    problem = sample.client.get("/credit").json()

    assert (problem["status"], problem["detail"], problem["balance"]) == (402, "Not enough.", 3)


def test_field_errors_from_a_handler_are_listed(sample: Service) -> None:
    problem = sample.client.post("/validation").json()

    assert problem["detail"] == "`email` is not an address"
    assert problem["errors"] == [{"field": "email", "message": "is not an address", "location": "body"}]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/items/7", 404),
        ("GET", "/%00%0d%0aX:y", 400),
        ("GET", "/\N{SNOWMAN}?x=%ff", 404),
        ("PUT", "/items", 405),
        ("BREW", "/items", 501),
        ("TRACE", "/items", 501),
    ],
)
def test_unknown_routes_and_methods_are_problems(
    sample: Service, method: str, path: str, status: int
) -> None:
    response = sample.client.request(method, path)

    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert response.json()["instance"] == httpx2.URL(path).raw_path.partition(b"?")[0].decode().replace(
        "%0d%0a", "%0D%0A"
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert "POST" in response.headers["allow"]


def test_problems_of_head_requests_have_no_body(sample: Service) -> None:
    for path, status in (("/headed", 400), ("/nowhere", 404)):
        response = sample.client.head(path)
        assert (response.status_code, response.content) == (status, b"")
        assert response.headers["content-type"] == PROBLEM
    # The connection still works.
    assert sample.client.get("/nothing").status_code == 204
    assert sample.client.get("/client").status_code == 200


def test_a_failing_stream_is_aborted_and_logged(sample: Service) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        sample.client.get("/broken-stream")

    assert sample.wait_for_log("response broken off")["error_type"] == "RuntimeError"
    sample.wait_for_log("request finished", path="/broken-stream", error_type="RuntimeError")


def test_a_failing_websocket_sends_no_details(sample: Service) -> None:
    address = sample.url.replace("http", "ws")
    with (
        websockets.sync.client.connect(f"{address}/socket-broken") as connection,
        pytest.raises(ConnectionClosed) as closed,
    ):
        connection.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4500, "Internal Server Error")
    with pytest.raises(InvalidStatus):
        websockets.sync.client.connect(f"{address}/nowhere")


def test_a_client_disconnect_is_not_a_failure(sample: Service) -> None:
    before = _failures(sample)
    # The client disconnects on its own timeout.
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{sample.url}/long", timeout=0.2, headers={"X-Request-ID": "gone"})
    sample.wait_for_log("request finished", path="/long", request_id="gone")
    assert _failures(sample) == before


def _failures(sample: Service) -> int:
    return sum(line["message"] == "request failed" for line in sample.logs())
