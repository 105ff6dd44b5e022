"""Names, values and commands with and without secrets."""

import pytest
from seatrial._static.secrets import is_secret_name, secret_setting, secrets_in_command


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "apiToken", "db-pwd", "SECRET_KEY_BASE", "SECRET1", "X_TOKEN_OLD"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PWD", "GPG_KEY", "TOKEN_URL", "PASSWORD_FILE", "SECRET_NAME", "KEYBOARD", "BYPASS_CACHE", "COMPASS"],
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "value",
    ["", "true", "/run/secrets/x", "$X", "${X}", "$(X)", "<password>", "{{ x }}", "***", "xxxx", "REDACTED"],
)
def test_references_are_no_secrets(value: str) -> None:
    assert secret_setting("DB_PASSWORD", value) is None
    assert secret_setting("DB_URL", f"postgresql://shop:{value or '$X'}@db/shop") is None or "/" in value


@pytest.mark.parametrize(
    "command",
    [
        "RUN --mount=type=secret,id=token TOKEN=$(cat /run/secrets/token) npm ci",
        "RUN |1 VERSION=1.2 /bin/sh -c pip install --no-cache-dir shop==1.2",
        "ENV GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305",
        "RUN useradd --password-file x --uid 1",
        'RUN curl -H "Authorization: Bearer $TOKEN" https://example.com',
    ],
)
def test_commands_without_secrets(command: str) -> None:
    assert secrets_in_command(command) == []
