"""What one variable is asked beside its type, whatever else is wrong."""

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
        raise ValueError("has upper case in it")


class Signing(ServiceSettings, frozen=True, kw_only=True):
    """Signing."""

    key: Annotated[
        Secret | None, Variable("SIGNING_KEY", required_in_production=True, check=must_be_lower)
    ] = None
    """What signs."""
    hours: Annotated[int, Variable("SIGNING_HOURS")] = 1
    """How long."""


def problems(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(Signing, environ, service="accounts", dotenv=NO_DOTENV)
    return str(caught.value)


def test_a_check_refuses_a_secret_in_words_that_are_shown() -> None:
    told = problems(SIGNING_KEY="Quiet-Lighthouse")

    assert "SIGNING_KEY has upper case in it" in told
    assert "Lighthouse" not in told


def test_a_check_is_asked_although_a_neighbour_is_wrong() -> None:
    told = problems(SIGNING_KEY="Quiet-Lighthouse", SIGNING_HOURS="many")

    assert "SIGNING_KEY has upper case in it" in told
    assert "SIGNING_HOURS is 'many'" in told


def test_what_is_required_in_production_is_missed_there_only() -> None:
    assert "SIGNING_KEY is not set, nor is SIGNING_KEY_FILE (only development has a default)" in problems()
    developing = load(Signing, {"ENVIRONMENT": "development"}, service="accounts", dotenv=NO_DOTENV)
    assert developing.key is None


def test_an_absent_value_is_not_checked_and_a_good_one_passes() -> None:
    settings = load(Signing, {"SIGNING_KEY": "quiet-lighthouse"}, service="accounts", dotenv=NO_DOTENV)

    assert settings.key is not None
    assert settings.key.reveal() == "quiet-lighthouse"


def test_the_reference_says_where_it_is_required() -> None:
    row = next(
        line
        for line in render_markdown([reference(Signing, service="accounts")]).splitlines()
        if "`SIGNING_KEY`" in line
    )

    assert "required; in development none" in row


def test_one_variable_checked_in_two_ways_is_a_mistake_of_its_author() -> None:
    class Other(Signing, frozen=True, kw_only=True):
        again: Annotated[Secret | None, Variable("SIGNING_KEY", required_in_production=True)] = None

    with pytest.raises(DeclarationError, match="check"):
        load(Other, {}, service="accounts", dotenv=NO_DOTENV)
