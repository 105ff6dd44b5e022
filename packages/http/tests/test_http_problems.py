"""Every error is a problem, and none tells an internal."""

import httpx2
import pytest
import websockets.sync.client
from starkeel_testing import Service
from websockets.exceptions import ConnectionClosed, InvalidStatus

PROBLEM = "application/problem+json"


@pytest.mark.parametrize("path", ["/boom", "/internal"])
def test_a_failure_says_nothing_and_is_logged_once(sample: Service, path: str) -> None:
    before = _failures(sample)
    answer = sample.client.get(path, headers={"X-Request-ID": "abc"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "instance": path,
        "request_id": "abc",
    }
    later = f"after-{path.removeprefix('/')}"
    sample.client.get("/who", headers={"X-Request-ID": later})
    sample.wait_for_log("seen", path="/who", request_id=later)
    [logged] = [line for line in sample.logs() if line["message"] == "request failed"][before:]
    assert logged["level"] == "error"
    assert logged["request_id"] == "abc"
    assert "Traceback" in logged["exception"]
    assert "hunter2" in logged["exception"]
    # By nobody else either.
    assert sample.output().count("hunter2") == sum(
        line["exception"].count("hunter2") for line in sample.logs() if line["message"] == "request failed"
    )


def test_the_exception_behind_a_5xx_is_named_for_telemetry(sample: Service) -> None:
    sample.client.get("/boom", headers={"X-Request-ID": "named"})
    sample.client.get("/away")
    sample.client.get("/nowhere")

    sample.wait_for_log("seen", path="/boom", request_id="named", error_type="RuntimeError")
    sample.wait_for_log("seen", path="/away", error_type="ConnectionRefusedError")
    sample.wait_for_log("seen", path="/nowhere", error_type=None)


def test_a_failure_meant_for_the_client_keeps_its_words_and_headers(sample: Service) -> None:
    answer = sample.client.get("/away")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["detail"] == "Come back later."
    assert "10.0.0.7" not in answer.text


def test_an_exception_of_the_services_own_keeps_its_status_and_members(sample: Service) -> None:
    problem = sample.client.get("/credit").json()

    assert (problem["status"], problem["detail"], problem["balance"]) == (402, "Not enough.", 3)


def test_errors_that_a_handler_finds_are_listed_like_ours(sample: Service) -> None:
    problem = sample.client.post("/signs").json()

    assert problem["detail"] == "`email` is no address"
    assert problem["errors"] == [{"field": "email", "message": "is no address", "location": "body"}]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/items/7", 404),
        ("GET", "/%00%0d%0aX:y", 404),
        ("GET", "/\N{SNOWMAN}?x=%ff", 404),
        ("PUT", "/items", 405),
        ("BREW", "/items", 405),
        ("TRACE", "/items", 405),
    ],
)
def test_unknown_routes_and_methods_are_problems(
    sample: Service, method: str, path: str, status: int
) -> None:
    answer = sample.client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["instance"] == httpx2.URL(path).raw_path.partition(b"?")[0].decode().replace(
        "%0d%0a", "%0D%0A"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert "POST" in answer.headers["allow"]


def test_problems_of_head_requests_have_no_body(sample: Service) -> None:
    for path, status in (("/headed", 400), ("/nowhere", 404)):
        answer = sample.client.head(path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert answer.headers["content-type"] == PROBLEM
    # The connection is still in step.
    assert sample.client.get("/nothing").status_code == 204
    assert sample.client.get("/who").status_code == 200


def test_a_stream_that_breaks_is_cut_off_and_logged(sample: Service) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        sample.client.get("/broken-stream")

    assert sample.wait_for_log("response broken off")["error_type"] == "RuntimeError"
    sample.wait_for_log("seen", path="/broken-stream", error_type="RuntimeError")


def test_a_websocket_that_fails_says_nothing_either(sample: Service) -> None:
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


def test_a_client_that_goes_away_is_no_failure(sample: Service) -> None:
    before = _failures(sample)
    # The timeout of the client is what makes it go.
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{sample.url}/long", timeout=0.2, headers={"X-Request-ID": "gone"})
    sample.wait_for_log("seen", path="/long", request_id="gone")
    assert _failures(sample) == before


def _failures(sample: Service) -> int:
    return sum(line["message"] == "request failed" for line in sample.logs())
