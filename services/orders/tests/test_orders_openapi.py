"""The OpenAPI document."""

from starkeel_testing import Service

ALWAYS = {"400", "401", "403", "429", "503"}
PROBLEMS = {
    ("post", "/api/orders"): ALWAYS | {"409", "413", "415", "422", "502", "504"},
    ("get", "/api/orders"): ALWAYS,
    ("get", "/api/orders/{order_id}"): ALWAYS | {"404", "412"},
    ("patch", "/api/orders/{order_id}"): ALWAYS | {"404", "409", "412", "413", "415", "428"},
    ("post", "/api/orders/{order_id}/cancel"): ALWAYS | {"404", "412"},
    ("get", "/api/orders/events"): ALWAYS,
}


def test_every_problem_response_is_documented(service: Service) -> None:
    document = service.client.get("/schema/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    documented = {(method, path) for path, item in document["paths"].items() for method in item}
    assert documented >= PROBLEMS.keys()
    for (method, path), statuses in PROBLEMS.items():
        responses = document["paths"][path][method]["responses"]
        assert {status for status in responses if status >= "400"} == statuses, (method, path)
        for status in statuses:
            [media_type] = responses[status]["content"]
            assert media_type == "application/problem+json"


def test_required_scopes_are_documented(service: Service) -> None:
    document = service.client.get("/schema/openapi.json").json()

    [name] = document["components"]["securitySchemes"]
    for method, path in PROBLEMS:
        scope = "orders:read" if method == "get" else "orders:write"
        assert document["paths"][path][method]["security"] == [{name: [scope]}]


def test_requests_and_responses_have_examples(service: Service) -> None:
    schemas = service.client.get("/schema/openapi.json").json()["components"]["schemas"]

    for name in ("Placement", "Change", "OrderView"):
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("examples"), (name, field)


def test_the_idempotency_key_is_documented(service: Service) -> None:
    paths = service.client.get("/schema/openapi.json").json()["paths"]

    [parameter] = paths["/api/orders"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("Idempotency-Key", "header", True)
    assert "UUID" in parameter["description"]
    assert "Idempotency-Key" not in str(paths["/api/orders/{order_id}"])
