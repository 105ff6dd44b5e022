"""Access tokens, rate limits, and accounts as an upstream."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service, running

CREATION = {"name": "oak-plank", "quantity": 1}
# template if database
PATH = "/api/depot/crates"
# template end
# template if not database
PATH = "/api/depot/crates/preview"
# template end


@pytest.mark.parametrize("flaw", ["none", "garbage", "expired", "other audience", "other key"])
def test_a_request_without_a_valid_token_is_refused(
    service: Service, ada: Any, token: Callable[..., str], flaw: str
) -> None:
    headers = {} if flaw == "none" else {"Authorization": f"Bearer {token(ada.id, flaw=flaw)}"}

    response = _send(service, headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("scope", ["", "orders:read", "depot:reads"])
def test_a_token_without_the_scope_is_refused(
    service: Service, ada: Any, token: Callable[..., str], scope: str
) -> None:
    response = _send(service, {"Authorization": f"Bearer {token(ada.id, scope=scope)}"})

    assert response.status_code == 403
    assert "depot:" in response.json()["detail"]


def test_a_token_of_a_service_is_refused(service: Service, token: Callable[..., str]) -> None:
    assert _send(service, {"Authorization": f"Bearer {token('reports')}"}).status_code == 403


def test_requests_of_a_user_are_limited(env: dict[str, str], new_person: Callable[[], Any]) -> None:
    ada, bob = new_person(), new_person()
    limits = {
        # template if database
        "RATE_LIMIT_DEPOT_CREATION": "2/hour",
        # template end
        "RATE_LIMIT_DEPOT_READING": "2/hour",
    }
    with running("depot", env | limits) as service:
        responses = [_send(service, ada.headers) for _ in range(3)]

        assert [response.is_success for response in responses] == [True, True, False]
        assert responses[-1].status_code == 429
        assert int(responses[-1].headers["retry-after"]) >= 1
        assert _send(service, bob.headers).is_success


def test_a_healthy_start_has_no_warning(env: dict[str, str]) -> None:
    with running("depot", env) as service:
        assert service.client.get("/health/ready").status_code == 200
        assert [line for line in service.logs() if line["level"] not in {"INFO", "DEBUG"}] == []


# template if calls accounts
def test_a_deactivated_user_is_refused(
    service: Service, issuer: Service, new_person: Callable[[], Any], token: Callable[..., str]
) -> None:
    person = new_person()
    assert _send(service, person.headers).is_success
    removed = issuer.client.request(
        "DELETE", "/api/users/me", headers=person.headers, json={"password": person.password}
    )
    assert removed.status_code == 204, removed.text

    response = _send(service, person.headers)

    assert response.status_code in {401, 403}
    assert response.headers["content-type"].startswith("application/problem+json")


def test_without_accounts_the_request_fails_and_the_service_is_ready(
    env: dict[str, str], free_port: int, ada: Any
) -> None:
    with running("depot", env | {"ACCOUNTS_URL": f"http://127.0.0.1:{free_port}"}) as service:
        response = _send(service, ada.headers)

        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert str(free_port) not in response.text
        assert service.client.get("/health/ready").status_code == 200


def test_trace_and_request_id_are_passed_to_accounts(service: Service, issuer: Service, ada: Any) -> None:
    trace_id, request_id = uuid4().hex, f"propagated-{uuid4().hex}"
    given = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "X-Request-ID": request_id}

    response = _send(service, ada.headers | given)

    assert response.headers["x-request-id"] == request_id
    line = issuer.wait_for_log_where(lambda line: line.get("request_id") == request_id)
    assert line["trace_id"] == trace_id


# template end
def _send(service: Service, headers: dict[str, str]) -> httpx2.Response:
    key = {"Idempotency-Key": str(uuid4())}
    return service.client.post(PATH, json=CREATION, headers=headers | key)
