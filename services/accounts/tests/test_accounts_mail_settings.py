"""Settings of mail that are refused."""

from pathlib import Path

import pytest
from starkeel_testing import exits


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"MAIL_TRANSPORT": "smtp", "MAIL_FROM": "accounts@example.com"}, "SMTP_HOST"),
        ({"SIGN_IN_REQUIRES_VERIFICATION": "true"}, "SIGN_IN_REQUIRES_VERIFICATION"),
    ],
)
def test_production_refuses_unsafe_and_incomplete_settings(
    tmp_path: Path, signing_pem: str, env: dict[str, str], named: str
) -> None:
    base = {
        "ENVIRONMENT": "production",
        "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db",
        "JWT_ISSUER": "https://accounts.example.com",
        "JWT_AUDIENCE": "example",
        "JWT_PRIVATE_KEY": signing_pem,
    }

    finished = exits("accounts", base | env)

    assert finished.code == 78
    assert named in finished.output
