"""The OpenAPI document and its page."""

from typing import Any

from starkeel_testing import Service

PROBLEMS = {
    ("post", "/api/users"): {"400", "409", "413", "415", "429", "503"},
    ("get", "/api/users/me"): {"401", "403", "429", "503"},
    ("patch", "/api/users/me"): {"400", "401", "403", "413", "415", "429", "503"},
    ("delete", "/api/users/me"): {"400", "401", "403", "413", "415", "429", "503"},
    ("post", "/api/auth/token"): {"400", "401", "403", "413", "415", "429", "503"},
    ("post", "/api/auth/service-token"): {"400", "401", "413", "415", "429", "503"},
    ("post", "/api/auth/email-verification"): {"400", "413", "415", "429", "503"},
    ("post", "/api/auth/email-verification/confirm"): {"400", "413", "415", "429", "503"},
    ("post", "/api/auth/password-reset"): {"400", "413", "415", "429", "503"},
    ("post", "/api/auth/password-reset/confirm"): {"400", "413", "415", "429", "503"},
    ("post", "/api/auth/refresh"): {"400", "401", "403", "413", "415", "429", "503"},
    ("post", "/api/auth/sign-out"): {"400", "401", "413", "415", "429", "503"},
    ("post", "/api/auth/sign-out-everywhere"): {"401", "403", "503"},
    ("get", "/api/users/me/sessions"): {"401", "403", "503"},
    ("delete", "/api/users/me/sessions/{session_id}"): {"400", "401", "403", "404", "503"},
}

GUARDED = ("/api/users/me", "/api/auth/sign-out-everywhere")
OPTIONAL = ("/api/auth/sign-out",)


def test_every_problem_response_is_documented(service: Service) -> None:
    document = service.client.get("/schema/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    for (method, path), statuses in PROBLEMS.items():
        responses = document["paths"][path][method]["responses"]
        assert {status for status in responses if status >= "400"} == statuses, (method, path)
        for status in statuses:
            [media_type] = responses[status]["content"]
            assert media_type == "application/problem+json"


def test_requests_and_responses_have_examples(service: Service) -> None:
    schemas = service.client.get("/schema/openapi.json").json()["components"]["schemas"]

    for name in (
        "SignUp",
        "Credentials",
        "PasswordChange",
        "Deactivation",
        "Profile",
        "Token",
        "TokenGiven",
        "AddressGiven",
        "PasswordReset",
        "ServiceToken",
        "ServiceTokenRequest",
        "Refresh",
        "SessionView",
    ):
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("examples") or "const" in schema or "enum" in schema, (name, field)


def test_security_requirements_are_documented(service: Service) -> None:
    document = service.client.get("/schema/openapi.json").json()

    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, item in document["paths"].items():
        for operation in item.values():
            security: list[dict[str, Any]] = operation.get("security", [])
            required = [[name]] if path.startswith(GUARDED) else [[name], []] if path in OPTIONAL else []
            assert [list(each) for each in security] == required, path


def test_only_the_body_of_signing_out_is_optional(service: Service) -> None:
    paths = service.client.get("/schema/openapi.json").json()["paths"]

    bodies = {path: item["post"].get("requestBody") for path, item in paths.items() if "post" in item}

    assert tuple(path for path, body in bodies.items() if body and not body["required"]) == OPTIONAL


def test_the_page_loads_no_external_resources(service: Service) -> None:
    page = service.client.get("/schema")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "://" not in page.text
    for asset in ("schema_page.js", "swagger-ui-bundle.js", "swagger-ui.css"):
        assert service.client.get(f"/schema/static/{asset}").status_code == 200
