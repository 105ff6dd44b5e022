"""The OpenAPI document and the service accept the same requests."""

from typing import Any

import httpx2
import msgspec
import pytest
from accounts.emails import EmailAddress
from accounts.schemas import (
    AddressGiven,
    Credentials,
    Deactivation,
    PasswordChange,
    PasswordReset,
    Refresh,
    SignOut,
    SignUp,
    TokenGiven,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starkeel_testing import Service

from tests.support.contract import Contract, constraints, decoder_constraints, is_valid, sent

FEW = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FORMATS = {"email": st.emails().filter(lambda text: _is_email(text))}
# Rules of the handler that no schema can state.
RULES = (
    "is too common",
    "must not be the email address or a part of it",
    "must not be a name of this service",
    "must have 8 to 128 characters",
    "is unknown, was used or replaced, or has expired",
)
BODIES = [
    ("post", "/api/users"),
    ("delete", "/api/users/me"),
    ("patch", "/api/users/me"),
    ("post", "/api/auth/token"),
    ("post", "/api/auth/refresh"),
    ("post", "/api/auth/sign-out"),
    ("post", "/api/auth/email-verification"),
    ("post", "/api/auth/email-verification/confirm"),
    ("post", "/api/auth/password-reset"),
    ("post", "/api/auth/password-reset/confirm"),
]
# Not JSON; compared in test_accounts_service_tokens.py.
FORMS = [("post", "/api/auth/service-token")]


def _is_email(text: str) -> bool:
    try:
        EmailAddress.parse(text)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def contract(service: Service) -> Contract:
    return Contract(service.client.get("/schema/openapi.json").json(), FORMATS)


def test_all_bodies_are_compared(contract: Contract) -> None:
    assert sorted(contract.operations()) == sorted(BODIES + FORMS)


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_body_is_accepted_as_the_document_states(
    service: Service, contract: Contract, sign_up: Any, method: str, path: str
) -> None:
    schema = contract.body_schema(method, path)
    headers = {"Content-Type": "application/json", **sign_up(service).headers}
    # A token request responds to an address that is none as to an unknown one.
    checks = {} if path == "/api/auth/token" else {"email": _is_email}
    # Not the client that notes secrets: a generated password may be a constant of the service, such as a
    # log message.
    client = httpx2.Client(base_url=service.url, timeout=30, trust_env=False)

    @FEW
    @given(contract.bodies(schema))
    def check(body: Any) -> None:
        response = client.request(method.upper(), path, content=sent(body), headers=headers)
        accepted = response.status_code != 400 or any(rule in response.text for rule in RULES)
        assert accepted is is_valid(schema, body, checks), (body, response.text)
        # This service sends no mail.
        assert response.status_code < 500 or "MAIL_TRANSPORT" in response.text

    with client:
        check()


@pytest.mark.parametrize(
    "kind",
    [
        AddressGiven,
        Credentials,
        Deactivation,
        PasswordChange,
        PasswordReset,
        Refresh,
        SignOut,
        SignUp,
        TokenGiven,
    ],
)
def test_the_document_has_the_bounds_of_the_decoder(contract: Contract, kind: type[msgspec.Struct]) -> None:
    documented = constraints(contract.document["components"]["schemas"][kind.__name__])

    assert documented == decoder_constraints(kind)


def test_a_new_password_has_the_documented_length(contract: Contract) -> None:
    schemas = contract.document["components"]["schemas"]

    for schema in (
        schemas["SignUp"]["properties"]["password"],
        schemas["PasswordChange"]["properties"]["new_password"],
    ):
        assert (schema["minLength"], schema["maxLength"]) == (8, 128)


def test_a_repeated_name_in_a_body_is_rejected(service: Service, make: Any, body: Any) -> None:
    credentials = body(make.sign_up.build())
    text = sent(credentials).removesuffix(b"}") + b', "email": "eve@example.com"}'

    response = service.client.post("/api/users", content=text)

    assert response.status_code == 400, response.text
    assert response.json()["errors"] == [{"field": "email", "message": "is repeated", "location": "body"}]
