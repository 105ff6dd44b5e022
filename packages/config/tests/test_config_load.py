"""Loading of settings: defaults, groups, placeholders, reporting of all problems."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from starkeel_config import ConfigurationError, Entry, Problem, Secret, load, resolve

from .sample import URL, Database, Server, Service, Upstream, problems_of

NOT_SET = "is not set, nor is DATABASE_URL_FILE (only development has a default)"
GOOD = {"DATABASE_URL": URL, "ACCOUNTS_URL": "https://accounts"}


def sources(environ: dict[str, str], **options: Any) -> dict[str, str]:
    entries = resolve(Service, environ, service="orders", **options).entries
    return {entry.variable: entry.source for entry in entries}


def test_unset_variables_have_defaults() -> None:
    settings = load(Service, GOOD, service="orders")

    assert settings.environment == "production"
    assert settings.server == Server(name="orders")
    assert settings.database == Database(url=Secret(URL))
    assert settings.accounts == Upstream(url="https://accounts")


def test_variables_override_defaults() -> None:
    settings = load(Service, {**GOOD, "PORT": "80", "OTEL_SERVICE_NAME": "shop"}, service="orders")

    assert settings.server.port == 80
    assert settings.server.name == "shop"


def test_an_empty_or_blank_variable_is_absent() -> None:
    settings = load(
        Service, {**GOOD, "PORT": "", "TLS_CERT_FILE": "", "DB_MAX_CONNECTIONS": " \t"}, service="orders"
    )

    assert settings.server.port == 3000
    assert settings.server.certificate is None
    assert settings.database.most == 20


def test_an_empty_required_secret_counts_as_not_set() -> None:
    (problem,) = problems_of({**GOOD, "DATABASE_URL": ""})

    assert problem.variable == "DATABASE_URL"
    assert problem.wrong == NOT_SET


def test_all_problems_are_reported_together_with_exit_code_78() -> None:
    environ = {
        "PORT": "x",
        "DRAIN_DELAY_SECONDS": "inf",
        "DB_MIN_CONNECTIONS": "0",
        "ACCOUNTS_TIMEOUT_SECONDS": "x",
    }

    with pytest.raises(ConfigurationError) as caught:
        load(Service, environ, service="orders")

    assert caught.value.exit_code == 78
    assert str(caught.value).splitlines() == [
        "the configuration of orders has 6 problems",
        "  PORT is 'x'; accepted: a whole number from 1 to 65535",
        "  DRAIN_DELAY_SECONDS is 'inf'; accepted: a number from 0 to 600",
        f"  DATABASE_URL {NOT_SET}; accepted: text (secret)",
        "  DB_MIN_CONNECTIONS is '0'; accepted: a whole number from 1 to 10000",
        "  ACCOUNTS_URL is not set (only development has a default); accepted: text",
        "  ACCOUNTS_TIMEOUT_SECONDS is 'x'; accepted: a number greater than 0 and at most 60",
    ]


def test_contradictory_values_are_reported_together_with_invalid_ones() -> None:
    problems = problems_of({**GOOD, "PORT": "x", "DB_MIN_CONNECTIONS": "30", "ACCOUNTS_URL": "accounts"})

    assert problems == [
        Problem("PORT", "is 'x'", "a whole number from 1 to 65535"),
        Problem("DB_MIN_CONNECTIONS", "is 30, more than DB_MAX_CONNECTIONS (20)"),
        Problem("ACCOUNTS_URL", "is 'accounts'", "an http:// or https:// URL"),
    ]


def test_problems_depend_on_the_environment() -> None:
    assert [problem.variable for problem in problems_of({**GOOD, "DATABASE_URL": "sqlite:///x"})] == [
        "DATABASE_URL"
    ]

    load(Service, {**GOOD, "DATABASE_URL": "sqlite:///x", "ENVIRONMENT": "development"}, service="orders")


def test_development_has_its_own_defaults() -> None:
    settings = load(Service, {"ENVIRONMENT": "development"}, service="orders")

    assert settings.database.url == Secret("sqlite:///.data/orders.db")
    assert settings.server.drain_s == 0
    assert settings.accounts.url == "http://127.0.0.1:3000"


def test_an_invalid_environment_is_reported_once_and_treated_as_production() -> None:
    problems = problems_of({"ENVIRONMENT": "developmnet", "ACCOUNTS_URL": "https://accounts"})

    assert [problem.variable for problem in problems] == ["ENVIRONMENT", "DATABASE_URL"]
    assert problems[0] == Problem("ENVIRONMENT", "is 'developmnet'", "production or development")


def test_environment_applies_to_settings_without_that_field() -> None:
    settings = load(Database, {"ENVIRONMENT": "development"}, service="accounts")

    assert settings.url == Secret("sqlite:///.data/accounts.db")
    assert problems_of({"ENVIRONMENT": "x", "DATABASE_URL": URL}, Database)[0].variable == "ENVIRONMENT"


def test_entries_contain_every_value_and_its_source_but_no_secret(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("8080\n")
    environ = {**GOOD, "ACCOUNTS_URL": "https://me:hushhush@accounts", "PORT_FILE": str(tmp_path / "port")}

    entries = resolve(Service, environ, service="orders").entries

    assert entries == (
        Entry("ENVIRONMENT", "production", "default"),
        Entry("PORT", "8080", f"file {tmp_path / 'port'}"),
        Entry("TLS_CERT_FILE", "", "default"),
        Entry("DRAIN_DELAY_SECONDS", "5", "default"),
        Entry("OTEL_SERVICE_NAME", "orders", "default"),
        Entry("DATABASE_URL", "***", "environment"),
        Entry("DB_MAX_CONNECTIONS", "20", "default"),
        Entry("DB_MIN_CONNECTIONS", "5", "default"),
        Entry("ACCOUNTS_URL", "https://***@accounts", "environment"),
        Entry("ACCOUNTS_TIMEOUT_SECONDS", "2", "default"),
    )


def test_entries_name_development_defaults() -> None:
    found = sources({"ENVIRONMENT": "development"})

    assert found["DATABASE_URL"] == "development default"
    assert found["DRAIN_DELAY_SECONDS"] == "development default"
    assert found["PORT"] == "default"


def test_repr_and_pickle_do_not_expose_secrets() -> None:
    settings = load(Service, GOOD, service="orders")

    assert "wpLbgy7sK2" not in repr(settings)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(settings)


# --- placeholders ---

PEM = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"
PLACEHOLDERS = [
    *["changeme", "CHANGE-ME", "change_me", "secret", "Password", "example", "todo", "<your key here>"],
    *["${DB_SECRET}", "$SECRET", "{{ vault.key }}", "your-256-bit-secret", "xxxxxxxx", "********", "0000"],
    *["replace-me-please", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
    PEM.format("MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC"),
    PEM.format("MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK\n9JLsLMREScVpezJpGXA7rAMcrn9g"),
]
PLACEHOLDER_URLS = [
    "postgresql://orders:changeme@db/orders",
    "postgresql://orders:change%2Dme@db/orders",
    "postgresql://orders:secret@127.0.0.1:5432/orders",
    "postgresql:///orders?host=db&password=password",
    "redis://:password@redis:6379/0",
    "postgresql://orders:${PASSWORD}@db/orders",
]


@pytest.mark.parametrize("text", [*PLACEHOLDERS, *PLACEHOLDER_URLS])
def test_a_placeholder_is_rejected_in_production_and_accepted_in_development(text: str) -> None:
    (problem,) = problems_of({"DATABASE_URL": text}, Database)

    assert problem.variable == "DATABASE_URL"
    assert "placeholder" in problem.wrong
    assert text not in problem.wrong
    settings = load(Database, {"DATABASE_URL": text, "ENVIRONMENT": "development"}, service="orders")
    assert settings.url == Secret(text)


def test_an_empty_password_is_rejected_for_remote_hosts() -> None:
    (problem,) = problems_of({"DATABASE_URL": "postgresql://orders:@db:5432/orders"}, Database)

    assert problem.wrong == "contains an empty password"


@pytest.mark.parametrize(
    "text",
    [
        URL,
        "postgresql://postgres:@/orders?host=/run/postgresql",
        "postgresql://postgres:@127.0.0.1:5432/orders",
        "postgresql://orders@db/orders",
        "redis://localhost:6379/0",
        "https://vault.example/secret",
        "not-a-secret-but-a-long-one",
        "k",
    ],
)
def test_values_similar_to_placeholders_are_accepted(text: str) -> None:
    assert load(Database, {"DATABASE_URL": text}, service="orders").url == Secret(text)
