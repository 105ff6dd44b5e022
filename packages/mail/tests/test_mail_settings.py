"""Settings of mail that are refused."""

from typing import Any

import pytest
from starkeel_config import ConfigurationError

COMPLETE = {
    "MAIL_TRANSPORT": "smtp",
    "MAIL_FROM": "no-reply@example.com",
    "SMTP_HOST": "mail.example.com",
}


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"MAIL_TRANSPORT": "file", "MAIL_FROM": "no-reply@example.com"}, "MAIL_TRANSPORT is 'file'"),
        (COMPLETE | {"SMTP_HOST": ""}, "SMTP_HOST is not set"),
        (COMPLETE | {"MAIL_FROM": ""}, "MAIL_FROM is not set"),
        (COMPLETE | {"MAIL_FROM": "Shop <shop@example.com>"}, "MAIL_FROM is"),
        (COMPLETE | {"SMTP_TLS": "off"}, "SMTP_TLS is 'off'"),
        (COMPLETE | {"SMTP_USERNAME": "ada"}, "SMTP_PASSWORD is not set"),
        (COMPLETE | {"SMTP_PASSWORD": "k3-quiet-bells"}, "SMTP_USERNAME is not set"),
    ],
)
def test_production_refuses_unsafe_and_incomplete_settings(
    read: Any, env: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**env)

    assert named in str(refused.value)
    assert str(refused.value).count("\n") == 1, "one problem is reported"


def test_complete_settings_are_accepted_and_hide_the_password(read: Any) -> None:
    settings = read(**COMPLETE, SMTP_USERNAME="shop", SMTP_PASSWORD="k3-quiet-bells")

    assert (settings.smtp_tls, settings.smtp_port) == ("starttls", 587)
    assert "k3-quiet-bells" not in repr(settings)
