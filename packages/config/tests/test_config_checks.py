"""Checks of single variables (`Variable.check`, `required_in_production`)."""

from pathlib import Path
from typing import Annotated

import pytest
from starkeel_config import (
    ConfigurationError,
    DeclarationError,
    Secret,
    ServiceSettings,
    Variable,
    load,
    reference,
    render_markdown,
)

NO_DOTENV = Path("/nonexistent/.env")


def must_be_lower(key: Secret) -> None:
    if not key.reveal().islower():
        raise ValueError("contains upper-case letters")


class Signing(ServiceSettings, frozen=True, kw_only=True):
    """Signing."""

    key: Annotated[
        Secret | None, Variable("SIGNING_KEY", required_in_production=True, check=must_be_lower)
    ] = None
    """The signing key."""
    hours: Annotated[int, Variable("SIGNING_HOURS")] = 1
    """Lifetime in hours."""


def problems(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(Signing, environ, service="accounts", dotenv=NO_DOTENV)
    return str(caught.value)


def test_a_failed_check_of_a_secret_reports_the_message_but_not_the_value() -> None:
    message = problems(SIGNING_KEY="Quiet-Lighthouse")

    assert "SIGNING_KEY contains upper-case letters" in message
    assert "Lighthouse" not in message


def test_a_check_runs_although_another_variable_is_invalid() -> None:
    message = problems(SIGNING_KEY="Quiet-Lighthouse", SIGNING_HOURS="many")

    assert "SIGNING_KEY contains upper-case letters" in message
    assert "SIGNING_HOURS is 'many'" in message


def test_a_variable_required_in_production_is_optional_in_development() -> None:
    assert "SIGNING_KEY is not set, nor is SIGNING_KEY_FILE (only development has a default)" in problems()
    settings = load(Signing, {"ENVIRONMENT": "development"}, service="accounts", dotenv=NO_DOTENV)
    assert settings.key is None


def test_a_valid_value_passes_its_check() -> None:
    settings = load(Signing, {"SIGNING_KEY": "quiet-lighthouse"}, service="accounts", dotenv=NO_DOTENV)

    assert settings.key is not None
    assert settings.key.reveal() == "quiet-lighthouse"


def test_the_reference_lists_a_variable_required_in_production_only() -> None:
    row = next(
        line
        for line in render_markdown([reference(Signing, service="accounts")]).splitlines()
        if "`SIGNING_KEY`" in line
    )

    assert "required; in development none" in row


def test_one_variable_with_two_checks_is_a_declaration_error() -> None:
    class Other(Signing, frozen=True, kw_only=True):
        again: Annotated[Secret | None, Variable("SIGNING_KEY", required_in_production=True)] = None

    with pytest.raises(DeclarationError, match="check"):
        load(Other, {}, service="accounts", dotenv=NO_DOTENV)
