"""The OpenAPI document and the service accept the same requests."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from orders.pagination import PageCursor
from orders.schemas import Change, Placement
from starkeel_testing import Service

from tests.support.contract import Contract, constraints, decoder_constraints, is_valid, matches, sent

FEW = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BODIES = [("patch", "/api/orders/{order_id}"), ("post", "/api/orders")]
PARAMETERS = [
    ("get", "/api/orders", "limit", False),
    ("get", "/api/orders", "cursor", False),
    ("post", "/api/orders", "Idempotency-Key", True),
    ("patch", "/api/orders/{order_id}", "If-Match", True),
]
TEXTS = ["1e1", "1.0", "+1", "0x1", "null", "None", '"', "*", '"1", "2"', 'W/"1"', '"a', "a,b"]
BODY = {"post": {"product_type": "oak-plank", "quantity": 1}, "patch": {"quantity": 1}, "get": None}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def contract(service: Service) -> Contract:
    return Contract(service.client.get("/schema/openapi.json").json(), {})


@pytest.fixture(scope="module")
def order_url(service: Service, ada: Any) -> str:
    created = service.client.post("/api/orders", headers=ada.placing, json=BODY["post"])
    return str(created.headers["location"])


def test_all_bodies_are_compared(contract: Contract) -> None:
    assert sorted(contract.operations()) == BODIES


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_body_is_accepted_as_the_document_states(
    service: Service, contract: Contract, ada: Any, order_url: str, method: str, path: str
) -> None:
    schema = contract.body_schema(method, path)
    url = order_url if "{" in path else path

    @FEW
    @given(contract.bodies(schema))
    def check(body: Any) -> None:
        headers = {**ada.placing, **JSON, "If-Match": "*"}
        response = service.client.request(method.upper(), url, content=sent(body), headers=headers)
        assert (response.status_code != 400) is is_valid(schema, body, {}), (body, response.text)
        assert response.status_code < 500

    check()


@pytest.mark.parametrize("kind", [Placement, Change])
def test_the_document_has_the_bounds_of_the_decoder(contract: Contract, kind: type[msgspec.Struct]) -> None:
    documented = constraints(contract.document["components"]["schemas"][kind.__name__])

    assert documented == decoder_constraints(kind)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter[2])
def test_a_parameter_is_accepted_as_the_document_states(
    service: Service, contract: Contract, ada: Any, order_url: str, parameter: tuple[str, str, str, bool]
) -> None:
    method, path, name, is_required = parameter
    documented = contract.parameter(method, path, name)
    schema = documented["schema"]
    valid = contract.valid({key: schema[key] for key in schema if key != "default"}).map(str)
    others = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)

    def is_accepted(text: str | None) -> bool:
        headers = {**JSON, **ada.headers, "Idempotency-Key": str(uuid4()), "If-Match": "*"}
        headers = {key: headers[key] for key in headers if key != name}
        given = {} if text is None else {name: text}
        is_header = documented["in"] == "header"
        response = service.client.request(
            method.upper(),
            order_url if "{" in path else path,
            headers=[(key, value.encode("latin-1")) for key, value in (headers | given).items()]
            if is_header
            else headers,
            params={} if is_header else given,
            content=b"" if method == "get" else sent(BODY[method]),
        )
        assert response.status_code < 500
        return response.status_code not in {400, 428}

    @FEW
    @given(valid | others | st.sampled_from(TEXTS))
    def check(text: str) -> None:
        assert is_accepted(text) is matches(schema, text), text

    check()
    assert documented["required"] is is_required
    assert is_accepted(None) is not is_required


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("limit=1&limit=2", "limit", "must be sent once"),
        ("limit=1&l%69mit=1", "limit", "must be sent once"),
        ("limit=1e1", "limit", "Expected `int`"),
        ("limit=1.0", "limit", "Expected `int`"),
        ("limit=%31e1", "limit", "Expected `int`"),
        ("cursor=a&cursor=a", "cursor", "must be sent once"),
    ],
)
def test_a_repeated_or_inexact_query_parameter_is_rejected(
    service: Service, ada: Any, query: str, field: str, message: str
) -> None:
    response = service.client.get(f"/api/orders?{query}", headers=ada.headers)

    assert response.status_code == 400, response.text
    assert response.json()["errors"] == [{"field": field, "message": message, "location": "query"}]


@pytest.mark.parametrize(
    "body",
    [
        b'{"product_type": "a", "quantity": 1, "quantity": 2}',
        b'{"product_type": "a", "quantity": 1, "quantit\\u0079": 1}',
        b'{"quantity": 3, "product_type": "a", "quantity": 3}',
    ],
)
def test_a_repeated_name_in_a_body_is_rejected(service: Service, ada: Any, body: bytes) -> None:
    response = service.client.post("/api/orders", content=body, headers={**ada.placing, **JSON})

    assert response.status_code == 400, response.text
    assert response.json()["errors"] == [{"field": "quantity", "message": "is repeated", "location": "body"}]


@FEW
@given(moment=st.integers(0, 4_500_000_000), order_id=st.uuids())
def test_every_cursor_of_the_service_is_documented(contract: Contract, moment: int, order_id: UUID) -> None:
    schema = contract.parameter("get", "/api/orders", "cursor")["schema"]

    assert matches(schema, PageCursor(datetime.fromtimestamp(moment, UTC), order_id).encode())


def test_an_event_of_the_stream_has_the_documented_schema(
    service: Service, contract: Contract, fresh: Any
) -> None:
    operation = contract.document["paths"]["/api/orders/events"]["get"]
    stream = operation["responses"]["200"]["content"]["text/event-stream"]["schema"]
    event = contract.resolved(stream["contentSchema"])
    service.client.post("/api/orders", headers=fresh.placing, json=BODY["post"])

    headers = fresh.headers | {"Last-Event-ID": "0"}
    with service.client.stream("GET", "/api/orders/events", headers=headers, timeout=30) as response:
        fields = itertools.dropwhile(
            lambda line: not line.startswith(("event:", "id:")), response.iter_lines()
        )
        first = dict(line.split(": ", 1) for line in itertools.takewhile(bool, fields))

    assert stream["contentMediaType"] == "text/event-stream"
    assert is_valid(event, first, {}), first
    assert is_valid(event["properties"]["data"]["contentSchema"], json.loads(first["data"]), {})
