"""Settings: required variables and rejected values."""

import pytest
from starkeel_client import UpstreamSettings, upstream
from starkeel_config import ConfigurationError, ServiceSettings, load


class Orders(ServiceSettings, frozen=True, kw_only=True):
    """A service with two upstreams."""

    accounts: UpstreamSettings = upstream("ACCOUNTS")
    billing: UpstreamSettings = upstream("BILLING", development_url="http://127.0.0.1:3005")


URLS = {"ACCOUNTS_URL": "https://accounts.example.com/", "BILLING_URL": "http://billing:3000/v1//"}


def test_variables_are_prefixed_with_the_upstream_name() -> None:
    settings = load(
        Orders, URLS | {"BILLING_RETRIES": "0", "ACCOUNTS_TIMEOUT_SECONDS": "2.5"}, service="orders"
    )

    assert settings.accounts == UpstreamSettings(url=settings.accounts.url, timeout_s=2.5)
    assert settings.accounts.url == "https://accounts.example.com"
    assert (settings.billing.url, settings.billing.retries) == ("http://billing:3000/v1", 0)


def test_each_url_is_required_in_production() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Orders, {}, service="orders")

    assert {problem.variable for problem in caught.value.problems} == set(URLS)


def test_development_urls_are_local() -> None:
    settings = load(Orders, {"ENVIRONMENT": "development"}, service="orders")

    assert (settings.accounts.url, settings.billing.url) == ("http://127.0.0.1:3000", "http://127.0.0.1:3005")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ACCOUNTS_URL", "accounts:3000"),
        ("ACCOUNTS_URL", "ftp://accounts"),
        ("ACCOUNTS_URL", "http://"),
        ("ACCOUNTS_URL", "http://accounts:0"),
        ("ACCOUNTS_URL", "http://accounts:99999"),
        ("ACCOUNTS_URL", "http://user:hunter2@accounts"),
        ("ACCOUNTS_URL", "http://accounts?"),
        ("ACCOUNTS_URL", "http://accounts/#x"),
        ("ACCOUNTS_URL", "http://acc ounts"),
        ("ACCOUNTS_URL", "http://[::1"),
        ("ACCOUNTS_TIMEOUT_SECONDS", "0"),
        ("ACCOUNTS_CONNECT_TIMEOUT_SECONDS", "6"),
        ("ACCOUNTS_MAX_CONNECTIONS", "0"),
        ("ACCOUNTS_RETRIES", "11"),
    ],
)
def test_an_invalid_value_is_reported(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Orders, URLS | {variable: value}, service="orders")

    assert {problem.variable for problem in caught.value.problems} == {variable}
    assert all(problem.accepted for problem in caught.value.problems)
    assert "hunter2" not in str(caught.value)
