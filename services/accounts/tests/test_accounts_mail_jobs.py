"""Mail as jobs: connections, stops, killed processes, and the requests of the previous version."""

import json
import os
import re
import signal
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from starkeel_testing import Service, exits, running, wait_for_jobs, wait_until

from tests.support.rows import rows
from tests.support.smtp import Inbox

SignUp = Callable[[Service], Any]

EXPIRED = "2020-01-01 00:00:00+00:00"


def token_of(mail: EmailMessage) -> str:
    found = re.findall(r"^([A-Za-z0-9_-]{43})\r?$", mail.get_content(), re.MULTILINE)
    assert len(found) == 1, mail.get_content()
    return str(found[0])


def verify(service: Service, mail: EmailMessage) -> int:
    body = {"token": token_of(mail)}
    return service.client.post("/api/auth/email-verification/confirm", json=body).status_code


def test_no_connection_is_held_while_the_server_is_waited_for(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.released.clear()
    # More mails wait than there are connections.
    with running("accounts", smtp_env | {"DB_MAX_CONNECTIONS": "4", "DB_MIN_CONNECTIONS": "1"}) as service:
        people = [sign_up(service) for _ in range(6)]
        wait_until(lambda: inbox.attempts == 6, timeout_s=30)

        assert service.client.get("/api/users/me", headers=people[0].headers).status_code == 200
        assert service.metric("mails_total", result="sent") == 0
        inbox.released.set()
        wait_until(lambda: len(inbox.mails) == 6, timeout_s=30)

        assert {verify(service, mail) for mail in inbox.mails} == {204}


def test_each_attempt_has_the_same_id_and_the_last_token_is_valid(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.content_refusals = ["451 Try again later"]
    with running("accounts", smtp_env) as service:
        person = sign_up(service)
        service.wait_for_log("mail sent", kind="verify_email", attempt=2, timeout_s=60)
        first, second = inbox.offered

        assert first["Message-ID"] == second["Message-ID"]
        assert token_of(first) != token_of(second)
        assert [verify(service, mail) for mail in (first, second)] == [400, 204]
        output = service.output()

    # It counts once, and neither logs nor the queue have the address or a token.
    assert len(rows(smtp_env["DATABASE_URL"], "SELECT id FROM sent_mails")) == 1
    assert person.email not in re.sub(r".*user created.*", "", output)
    for mail in (first, second):
        assert token_of(mail) not in output
        assert token_of(mail) not in str(rows(smtp_env["DATABASE_URL"], "SELECT * FROM jobs"))


def test_a_request_writes_the_same_whether_or_not_the_address_is_registered(
    smtp_env: dict[str, str], sign_up: SignUp, make: Any
) -> None:
    # Nothing is sent: the arguments of a job are deleted with its success.
    with running("accounts", smtp_env | {"RUN_WORKER": "false"}) as service:
        person, stranger = sign_up(service), make.credentials.build()
        for email in (person.email, stranger.email):
            assert service.client.post("/api/auth/password-reset", json={"email": email}).status_code == 202

    found = rows(smtp_env["DATABASE_URL"], "SELECT arguments FROM jobs WHERE name = 'send_mail' ORDER BY id")
    _, known, unknown = (json.loads(arguments) for (arguments,) in found)
    assert (known["email_key"], unknown["email_key"]) == (person.email, stranger.email)
    assert known.keys() == unknown.keys() == {"kind", "email_key", "mail_id"}


def test_a_stop_lets_a_mail_be_sent_within_the_grace_period(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.released.clear()
    with running("accounts", smtp_env | {"SHUTDOWN_GRACE_SECONDS": "30"}) as service:
        sign_up(service)
        wait_until(lambda: inbox.attempts == 1, timeout_s=30)
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_log("stopped accepting connections")
        inbox.released.set()

        assert service.wait() == 0
        assert service.wait_for_log("mail sent")["attempt"] == 1
    with running("accounts", smtp_env) as service:
        wait_for_jobs(smtp_env["DATABASE_URL"], "send_mail")

    assert len(inbox.mails) == 1


def test_a_mail_that_takes_longer_than_the_grace_period_is_sent_by_another_process(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.released.clear()
    with running("accounts", smtp_env | {"SHUTDOWN_GRACE_SECONDS": "1"}) as service:
        sign_up(service)
        wait_until(lambda: inbox.attempts == 1, timeout_s=30)
        code = service.terminate()
        assert code == 0, service.output()
        service.wait_for_log("jobs cancelled and given back", count=1)
    with running("accounts", smtp_env) as service:
        wait_until(lambda: inbox.attempts == 2, timeout_s=30)
        inbox.released.set()
        # The attempt that was given back does not count.
        service.wait_for_log("mail sent", attempt=1, timeout_s=30)
        assert verify(service, inbox.mails[-1]) == 204


def test_the_mail_of_a_killed_process_is_sent_by_another_one(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.released.clear()
    env = smtp_env | {"JOBS_HEARTBEAT_SECONDS": "1"}
    with running("accounts", env) as service:
        sign_up(service)
        wait_until(lambda: inbox.attempts == 1, timeout_s=30)
        os.killpg(service.process.pid, signal.SIGKILL)
        service.wait()
    with running("accounts", env) as service:
        wait_until(lambda: inbox.attempts == 2, timeout_s=30)
        inbox.released.set()
        service.wait_for_log("mail sent", attempt=2, timeout_s=30)
        assert verify(service, inbox.mails[-1]) == 204


def test_a_mail_that_was_given_up_can_be_retried(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    inbox.refusals = ["451 Try again later"] * 2
    url = smtp_env["DATABASE_URL"]
    with running("accounts", smtp_env) as service:
        sign_up(service)
        service.wait_for_log("job retried", job="send_mail", timeout_s=30)
    rows(url, f"UPDATE jobs SET attempts = 113, due_at = '{EXPIRED}' WHERE name = 'send_mail'")
    with running("accounts", smtp_env) as service:
        service.wait_for_log("mail given up", kind="verify_email", attempt=114, timeout_s=30)
        service.wait_for_log("job failed", job="send_mail")
        assert service.metric("mails_total", result="given_up") == 1
        retried = exits("accounts", smtp_env, "jobs", "retry", "--failed", "send_mail")
        assert retried.code == 0, retried.output
        wait_for_jobs(url, "send_mail")

        assert verify(service, inbox.mails[-1]) == 204


def test_mail_is_discarded_while_it_is_off(smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp) -> None:
    inbox.refusals = ["451 Try again later"]
    with running("accounts", smtp_env) as service:
        sign_up(service)
        service.wait_for_log("job retried", job="send_mail", timeout_s=30)
    with running("accounts", smtp_env | {"MAIL_TRANSPORT": "off"}) as service:
        service.wait_for_log("mail discarded", kind="verify_email", timeout_s=30)

    wait_for_jobs(smtp_env["DATABASE_URL"], "send_mail")
    assert inbox.mails == []


def test_requests_of_the_previous_version_are_adopted(
    smtp_env: dict[str, str], inbox: Inbox, sign_up: SignUp
) -> None:
    url = smtp_env["DATABASE_URL"]
    with running("accounts", smtp_env) as service:
        person = sign_up(service)
        wait_for_jobs(url, "send_mail")
        ids = {name: f"{number:032x}" for number, name in enumerate(("abandoned", "claimed", "sent"), 1)}
        times = {"abandoned": f"'{EXPIRED}'", "claimed": "'2100-01-01 00:00:00+00:00'", "sent": "NULL"}
        for name, due_at in times.items():
            mail_id = f"X'{ids[name]}'" if url.startswith("sqlite") else f"'{ids[name]}'"
            rows(
                url,
                "INSERT INTO mail_requests (id, kind, email_key, due_at, attempts, created_at, updated_at)"
                f" VALUES ({mail_id}, 'reset_password', '{person.email}', {due_at}, 1,"
                f" '{EXPIRED}', '{EXPIRED}')",
            )
        assert exits("accounts", smtp_env, "jobs", "run", "adopt_mail_requests").code == 0
        wait_for_jobs(url, "send_mail", count=2)
        assert exits("accounts", smtp_env, "jobs", "run", "delete_expired_rows").code == 0
        wait_for_jobs(url, "delete_expired_rows")

    adopted = inbox.mails[-1]
    assert (adopted["Subject"], adopted["To"]) == ("Reset your password", person.email)
    assert adopted["Message-ID"] == "<00000000-0000-0000-0000-000000000001@example.com>"
    # That which a process of the previous version is sending stays.
    assert len(rows(url, "SELECT id FROM mail_requests WHERE due_at IS NOT NULL")) == 1
    assert len(rows(url, "SELECT id FROM mail_requests")) == 1


def test_what_is_no_longer_valid_is_deleted(smtp_env: dict[str, str], sign_up: SignUp) -> None:
    url = smtp_env["DATABASE_URL"]
    with running("accounts", smtp_env) as service:
        for _ in range(2):
            sign_up(service)
        wait_for_jobs(url, "send_mail", count=2)
        [first, _] = rows(url, "SELECT email_key FROM users ORDER BY id")
        of_first = f"WHERE user_id = (SELECT id FROM users WHERE email_key = '{first[0]}')"
        rows(url, f"UPDATE sent_mails SET created_at = '{EXPIRED}' {of_first}")
        rows(url, f"UPDATE one_time_tokens SET expires_at = '{EXPIRED}' {of_first}")
        ended = f"expires_at = '{EXPIRED}', access_expires_at = '{EXPIRED}'"
        rows(url, f"UPDATE sessions SET {ended} {of_first}")
        assert exits("accounts", smtp_env, "jobs", "run", "delete_expired_rows").code == 0
        wait_for_jobs(url, "delete_expired_rows")

    for table in ("sent_mails", "one_time_tokens", "sessions"):
        assert len(rows(url, f"SELECT id FROM {table}")) == 1, table
        assert rows(url, f"SELECT id FROM {table} {of_first}") == [], table


@pytest.mark.parametrize("schedule", ["delete_expired_rows", "adopt_mail_requests"])
def test_schedules_are_recorded(smtp_env: dict[str, str], schedule: str) -> None:
    with running("accounts", smtp_env):
        statement = f"SELECT name FROM job_schedules WHERE name = '{schedule}'"
        recorded = wait_until(lambda: rows(smtp_env["DATABASE_URL"], statement), timeout_s=30)
    assert [name for (name,) in recorded] == [schedule]
