"""Settings: required variables and rejected values."""

import pytest
from starkeel_auth import AuthSettings, IssuerSettings
from starkeel_config import ConfigurationError, ServiceSettings, load

GOOD = {
    "JWT_ISSUER": "https://accounts.example.com",
    "JWT_AUDIENCE": "fleet",
    "JWT_JWKS_URL": "https://accounts.example.com/.well-known/jwks.json",
}


class Orders(ServiceSettings, frozen=True, kw_only=True):
    """A service that verifies tokens of another service."""

    auth: AuthSettings


class Accounts(ServiceSettings, frozen=True, kw_only=True):
    """A service that issues tokens."""

    auth: IssuerSettings


def test_issuer_audience_and_key_url_are_required_in_production() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Orders, {}, service="orders")

    assert {problem.variable for problem in caught.value.problems} == set(GOOD)
    assert load(Orders, GOOD, service="orders").auth.jwks_url == GOOD["JWT_JWKS_URL"]


def test_the_issuer_requires_no_key_url() -> None:
    environ = {name: value for name, value in GOOD.items() if name != "JWT_JWKS_URL"}

    assert load(Accounts, environ, service="accounts").auth.audience == "fleet"


def test_development_defaults_of_issuer_and_verifier_match() -> None:
    accounts = load(Accounts, {"ENVIRONMENT": "development"}, service="accounts").auth
    orders = load(Orders, {"ENVIRONMENT": "development"}, service="orders").auth

    assert (accounts.issuer, accounts.audience) == (orders.issuer, orders.audience)
    assert orders.jwks_url == "http://127.0.0.1:3000/.well-known/jwks.json"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JWT_JWKS_URL", "accounts.example.com/jwks.json"),
        ("JWT_JWKS_URL", "file:///etc/passwd"),
        ("JWT_JWKS_URL", "http://"),
        ("JWT_JWKS_URL", "http://accounts:0/x"),
        ("JWT_JWKS_URL", "http://accounts:port/x"),
        ("JWT_JWKS_URL", "http://user:hunter2@accounts/x"),
        ("JWT_JWKS_URL", "http://accounts/x#keys"),
        ("JWT_JWKS_URL", "http://acc ounts/x"),
        ("JWT_AUDIENCE", 'fl"eet'),
        ("JWT_AUDIENCE", "x" * 256),
        ("JWT_ISSUER", "https://accounts example"),
        ("JWT_JWKS_TIMEOUT_SECONDS", "0"),
        ("JWT_JWKS_REFRESH_SECONDS", "0.5"),
        ("JWT_JWKS_MAX_AGE_SECONDS", "599"),
    ],
)
def test_an_invalid_value_is_reported(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Orders, GOOD | {variable: value}, service="orders")

    assert {problem.variable for problem in caught.value.problems} == {variable}
    assert all(problem.accepted for problem in caught.value.problems)
    assert "hunter2" not in str(caught.value)
