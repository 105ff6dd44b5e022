"""Mail in a directory, and mail that is off."""

from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from starkeel_mail import MailNotSentError, MailSettings, text_message, transport


def message(settings: MailSettings, mail_id: str = "welcome-7", **changed: str) -> Any:
    values = {"recipient": "ada@example.com", "subject": "Welcome", "text": "Hello."}
    return text_message(settings, mail_id=mail_id, **(values | changed))


@pytest.fixture
def settings(read: Any, tmp_path: Path) -> MailSettings:
    found: MailSettings = read(
        ENVIRONMENT="development", MAIL_TRANSPORT="file", MAIL_DIRECTORY=str(tmp_path / "mail")
    )
    return found


async def test_each_mail_is_a_file_for_its_owner_only(settings: MailSettings) -> None:
    destination = transport(settings)
    assert destination is not None
    for name in ("first", "second"):
        await destination.send(message(settings, mail_id=name))

    files = list(settings.directory.iterdir())
    mails = [message_from_bytes(file.read_bytes(), policy=default) for file in files]
    assert {mail["Message-ID"] for mail in mails} == {"<first@example.com>", "<second@example.com>"}
    assert {mail["From"] for mail in mails} == {"no-reply@example.com"}
    assert {file.suffix for file in files} == {".eml"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert settings.directory.stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_cannot_be_written_is_a_failure_for_now(settings: MailSettings) -> None:
    settings.directory.write_text("not a directory")
    destination = transport(settings)
    assert destination is not None

    with pytest.raises(MailNotSentError, match="not written"):
        await destination.send(message(settings))


def test_without_a_transport_there_is_no_destination(read: Any) -> None:
    assert transport(read()) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"recipient": "ada@example.com\r\nBcc: eve@example.com"},
        {"subject": "Welcome\nBcc: eve@example.com"},
        {"mail_id": "7>\r\nBcc: eve@example.com"},
        {"mail_id": ""},
    ],
)
def test_headers_cannot_be_added(settings: MailSettings, changed: dict[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the text is that of the standard library)
        message(settings, **changed)


def test_a_message_without_sender_is_an_error(read: Any) -> None:
    with pytest.raises(ValueError, match="MAIL_FROM is not set"):
        message(read())
