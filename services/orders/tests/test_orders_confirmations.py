"""Confirmation of orders by mail, over a real SMTP server."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starkeel_testing import Service, running, wait_for_jobs, wait_until

from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, Inbox, Relay, running_relay, server_context, smtp_variables

PLACEMENT = {"product_type": "oak-plank", "quantity": 3}
JOB = "send_order_confirmation"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def relay(inbox: Inbox, authority: Authority) -> Iterator[Relay]:
    """An SMTP server that requires STARTTLS and authentication."""
    with running_relay(inbox, server_context(authority)) as relay:
        yield relay


@pytest.fixture
def mail_env(
    relay: Relay, authority: Authority, env_of: Callable[[str], dict[str, str]], database_url: str
) -> dict[str, str]:
    """Environment of an orders that sends mail, with each database."""
    return env_of(database_url) | smtp_variables(relay, authority, sender="orders@example.com")


@pytest.fixture
def confirmed(accounts_database: Path, new_person: Callable[[], Any]) -> Any:
    """A user that has confirmed its address."""
    person = new_person()
    with closing(sqlite3.connect(accounts_database)) as connection, connection:
        statement = "UPDATE users SET email_verified_at = created_at WHERE email = ?"
        assert connection.execute(statement, (person.email,)).rowcount == 1
    return person


def place(service: Service, person: Any) -> str:
    response = service.client.post("/api/orders", json=PLACEMENT, headers=person.placing)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def test_an_order_is_confirmed_once_by_mail(
    mail_env: dict[str, str], inbox: Inbox, confirmed: Any, new_person: Callable[[], Any]
) -> None:
    with running("orders", mail_env) as service:
        # The address of the other user is not confirmed.
        place(service, new_person())
        order_id = place(service, confirmed)
        wait_for_jobs(mail_env["DATABASE_URL"], JOB)
        again = service.client.post("/api/orders", json=PLACEMENT, headers=confirmed.placing)
        assert again.status_code == 201
        wait_for_jobs(mail_env["DATABASE_URL"], JOB, count=2)
        sent = service.wait_for_log("order confirmation sent", order_id=order_id)
        output = service.output()

    first = inbox.mails[0]
    assert (first["To"], first["From"]) == (confirmed.email, "orders@example.com")
    assert first["Message-ID"] == f"<order-{order_id}@example.com>"
    assert order_id in first.get_content()
    assert [mail["To"] for mail in inbox.mails] == [confirmed.email] * 2
    assert sent["job"] == JOB
    assert sent["request_id"]
    assert confirmed.email not in output
    assert PASSWORD not in output


def test_a_repeated_request_is_not_confirmed_again(
    mail_env: dict[str, str], inbox: Inbox, confirmed: Any
) -> None:
    headers = confirmed.placing
    with running("orders", mail_env) as service:
        for _ in range(3):
            assert service.client.post("/api/orders", json=PLACEMENT, headers=headers).status_code == 201
        wait_for_jobs(mail_env["DATABASE_URL"], JOB)
        # A later order: the confirmations before it have been sent.
        place(service, confirmed)
        wait_for_jobs(mail_env["DATABASE_URL"], JOB, count=2)

    assert len({mail["Message-ID"] for mail in inbox.mails}) == len(inbox.mails) == 2


def test_a_confirmation_survives_a_killed_process_and_is_left_out_after_a_cancellation(
    mail_env: dict[str, str], inbox: Inbox, confirmed: Any
) -> None:
    inbox.released.clear()
    env = mail_env | {"JOBS_HEARTBEAT_SECONDS": "1"}
    with running("orders", env) as service:
        kept = place(service, confirmed)
        cancelled = place(service, confirmed)
        wait_until(lambda: inbox.attempts >= 2, timeout_s=30)
        os.killpg(service.process.pid, signal.SIGKILL)
        service.wait()
    with running("orders", env | {"RUN_WORKER": "false"}) as service:
        response = service.client.post(f"/api/orders/{cancelled}/cancel", headers=confirmed.headers)
        assert response.status_code == 200
    inbox.released.set()
    with running("orders", env):
        wait_for_jobs(mail_env["DATABASE_URL"], JOB, count=2)

    sent = {mail["Message-ID"] for mail in inbox.mails}
    assert f"<order-{kept}@example.com>" in sent


def test_a_refused_confirmation_is_not_sent_again(
    mail_env: dict[str, str], inbox: Inbox, confirmed: Any
) -> None:
    inbox.refusals.append(f"550 5.1.1 {confirmed.email} unknown")
    with running("orders", mail_env) as service:
        place(service, confirmed)
        refused = service.wait_for_log("order confirmation refused")
        wait_for_jobs(mail_env["DATABASE_URL"], JOB)
        output = service.output()

    assert inbox.mails == []
    assert inbox.attempts == 1
    assert refused["level"] == "ERROR"
    assert confirmed.email not in output
