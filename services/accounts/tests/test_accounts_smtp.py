"""Mail over SMTP, to a real server, and its failures."""

from collections.abc import Callable
from typing import Any

import pytest
from starkeel_testing import Service, running, wait_until

from tests.support.smtp import PASSWORD, USERNAME, Inbox

VERIFY = "Confirm your email address"
SignUp = Callable[[Service], Any]


def test_mail_is_sent_over_starttls_with_credentials(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    with running("accounts", smtp_env) as service:
        person = sign_up(service)
        service.wait_for_log("mail sent", kind="verify_email")
        assert service.metric("mails_total", result="sent") == 1
        output = service.output()

    [mail] = inbox.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (person.email, "no-reply@example.com", VERIFY)
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert inbox.users == [USERNAME.encode()]
    assert PASSWORD not in output


def test_a_recipient_that_is_refused_for_good_is_not_tried_again(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.refusals = ["550 No such user"]
    with running("accounts", smtp_env) as service:
        person = sign_up(service)
        refused = service.wait_for_log("mail refused", kind="verify_email")
        # A later mail is sent; the refused one is not.
        service.client.post("/api/auth/password-reset", json={"email": person.email})
        service.wait_for_log("mail sent", kind="reset_password")

    assert "550" in refused["reason"]
    assert person.email not in str(refused)
    assert inbox.attempts == 2


def test_mail_is_sent_again_after_failures_and_a_restart(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.refusals = ["451 Try again later"]
    with running("accounts", smtp_env) as service:
        person = sign_up(service)
        failed = service.wait_for_log("mail not sent", kind="verify_email")
        assert "451" in failed["reason"]
        assert inbox.mails == []
    with running("accounts", smtp_env) as service:
        sent = service.wait_for_log("mail sent", kind="verify_email", timeout_s=60)

    assert sent["attempt"] == 2
    [mail] = inbox.mails
    assert mail["To"] == person.email


@pytest.mark.parametrize("changed", [{"SMTP_CA_FILE": ""}, {"SMTP_PASSWORD": "wrong"}, {"SMTP_PORT": "1"}])
def test_mail_is_kept_while_the_server_is_not_usable(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp, changed: dict[str, str]
) -> None:
    with running("accounts", smtp_env | changed) as service:
        sign_up(service)
        service.wait_for_log("mail not sent", kind="verify_email", timeout_s=60)
        assert service.metric("mails_total", result="retried") >= 1
    assert inbox.mails == []
    with running("accounts", smtp_env) as service:
        service.wait_for_log("mail sent", kind="verify_email", timeout_s=60)

    wait_until(lambda: len(inbox.mails) == 1, timeout_s=20)
