"""Required configuration, and the errors if it is missing."""

from pathlib import Path

import pytest
from starkeel_auth import generate_private_key_pem
from starkeel_testing import exits, running


def test_production_requires_a_key(tmp_path: Path) -> None:
    finished = exits("accounts", _production(tmp_path))

    assert finished.code == 78
    assert "JWT_PRIVATE_KEY" in finished.output


@pytest.mark.parametrize("key", ["garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_an_invalid_key_is_rejected_and_not_in_the_output(tmp_path: Path, key: str) -> None:
    finished = exits("accounts", _production(tmp_path) | {"JWT_PRIVATE_KEY": key})

    assert finished.code == 78
    assert "JWT_PRIVATE_KEY" in finished.output
    assert "AAAA" not in finished.output
    assert "garbage" not in finished.output


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    invalid = {"RATE_LIMIT_SIGN_UP": "often", "JWT_EXPIRATION_HOURS": "0", "PORT": "http"}

    finished = exits("accounts", _production(tmp_path) | invalid)

    assert finished.code == 78
    for name in (*invalid, "JWT_PRIVATE_KEY"):
        assert name in finished.output


def test_production_starts_with_a_key_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(generate_private_key_pem())

    with running("accounts", _production(tmp_path) | {"JWT_PRIVATE_KEY_FILE": str(file)}) as service:
        assert service.client.get("/.well-known/jwks.json").status_code == 200


def test_two_workers_sign_with_the_same_development_key(tmp_path: Path) -> None:
    env = {"ENVIRONMENT": "development", "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db", "WORKERS": "2"}
    with running("accounts", env) as service:
        keys = {service.client.get("/.well-known/jwks.json").text for _ in range(10)}

    assert len(keys) == 1
    [file] = tmp_path.glob("*.pem")
    assert file.stat().st_mode & 0o777 == 0o600


def _production(tmp_path: Path) -> dict[str, str]:
    return {
        "ENVIRONMENT": "production",
        "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db",
        "JWT_ISSUER": "https://accounts.example.com",
        "JWT_AUDIENCE": "example",
    }
