"""The search for leaks finds each kind of them, in each place."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starkeel_testing import OtlpReceiver, running
from starkeel_testing._leaks import CHECKED, SENT, LeakCheck

PASSWORD = "seven quiet lighthouses"
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlIG9mIGEgdG9rZW4"
SIGNATURE = TOKEN.rpartition(".")[2]
URL = "http://shop/api/orders"


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    # Of the run's other tests.
    before = set(SENT), set(CHECKED)
    yield
    SENT.clear()
    CHECKED.clear()
    SENT.update(before[0])
    CHECKED.update(before[1])


def exchange(
    response: dict[str, Any], *, sent: dict[str, Any], headers: dict[str, str] | None = None
) -> LeakCheck:
    check = LeakCheck("shop")
    request = httpx2.Request("POST", URL, json=sent, headers=headers)
    check.exchange(request, httpx2.Response(200, **response), is_complete=True)
    return check


@pytest.mark.parametrize(
    ("response", "leak"),
    [
        ({"text": f"no such password: {PASSWORD}"}, "a secret of 23 characters"),
        ({"headers": {"X-Echo": SIGNATURE}}, f"a secret of {len(SIGNATURE)} characters"),
        ({"text": f'File "{sys.prefix}/lib/x.py"'}, "the path "),
        ({"headers": {"X-Source": f"{sys.prefix}/lib"}}, "the path "),
        ({"json": {"detail": "INSERT INTO users VALUES (1)"}}, "SQL (INSERT INTO"),
        ({"json": {"detail": "syntax error in SELECT id\nFROM users"}}, None),
        ({"text": "SELECT id FROM users"}, "SQL (SELECT id FROM"),
        ({"text": "sqlalchemy.exc.OperationalError"}, "the library sqlalchemy"),
        ({"text": "Python/3.11 error"}, "the library Python/3"),
        ({"headers": {"Server": "web 1.0"}}, "the header `Server: web 1.0`"),
        ({"headers": {"Server": "-"}}, None),
        # The client's own description.
        ({"text": "a session of python-httpx2/9"}, None),
        ({"text": "an order of granite, selected from stock"}, None),
    ],
)
def test_a_leak_in_a_response_is_found(response: dict[str, Any], leak: str | None) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "python-httpx2/9"}
    check = exchange(response, sent={"password": PASSWORD}, headers=headers)

    if leak is None:
        check.raise_if_found()
        return
    with pytest.raises(AssertionError, match="shop revealed") as raised:
        check.raise_if_found()
    assert f"{leak}" in str(raised.value)
    assert " in the response to POST /api/orders" in str(raised.value)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("place", ["output", "metrics"])
@pytest.mark.parametrize("secret", [PASSWORD, SIGNATURE, "a-session-of-a-browser", "issued-2-the-client"])
def test_a_secret_in_another_place_is_found(place: str, secret: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": "a-session-of-a-browser"}
    issued = {"json": {"access_token": "issued-2-the-client"}}
    check = exchange(issued, sent={"new_password": PASSWORD}, headers=headers)
    check.raise_if_found()

    getattr(check, place)(json.dumps({"message": f"received {secret}", "level": "debug"}))

    with pytest.raises(AssertionError, match=f"a secret of {len(secret)} characters"):
        check.raise_if_found()


def test_output_for_operators_may_have_code() -> None:
    check = LeakCheck("shop")
    check.output(json.dumps({"level": "debug", "message": "SELECT id FROM users"}))
    check.output(json.dumps({"level": "error", "message": "failed", "stack": f"{sys.prefix}/x.py"}))
    check.raise_if_found()

    check.output(json.dumps({"level": "info", "message": "SELECT id FROM users"}))
    check.output(json.dumps({"level": "info", "message": f"{sys.prefix}/x.py"}))

    with pytest.raises(AssertionError, match=r"(?s)SQL \(SELECT id FROM\).*the path "):
        check.raise_if_found()


def test_a_secret_in_a_span_is_found() -> None:
    CHECKED.add("shop")
    exchange({}, sent={"password": PASSWORD}).raise_if_found()
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.scope_spans.add().spans.add(name="sign in").attributes.add(
        key="body"
    ).value.string_value = PASSWORD
    receiver = OtlpReceiver()
    httpx2.post(
        f"{receiver.endpoint}/v1/traces",
        content=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        trust_env=False,
    )

    with pytest.raises(AssertionError, match=r"spans revealed:\s+a secret of 23 characters"):
        receiver.close()


def test_a_running_service_is_checked_at_its_end(sample_env: dict[str, str]) -> None:
    CHECKED.add("sample")
    with (
        pytest.raises(AssertionError, match="sample revealed") as raised,
        running("sample", sample_env) as service,
    ):
        # The response holds the folder of the installed packages, in `PATH`.
        assert service.client.get("/environ").status_code == 200
    assert "the path " in str(raised.value)
    assert "Server: granian" in str(raised.value)
    CHECKED.clear()
    with running("sample", sample_env) as service:
        assert service.client.get("/environ").status_code == 200
