"""Verification of addresses and password resets by mail, with each database."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, running, wait_until

VERIFY, RESET, EXISTS = "Confirm your email address", "Reset your password", "You already have an account"
SignUp = Callable[[Service], Any]


@pytest.fixture(scope="session")
def mail_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    names = ("SIGN_UP", "TOKEN", "REFRESH", "PASSWORD", "PROFILE", "MAIL")
    return {
        "MAIL_TRANSPORT": "file",
        "MAIL_DIRECTORY": str(tmp_path_factory.mktemp("mail")),
        "MAILS_PER_HOUR": "8",
    } | {f"RATE_LIMIT_{name}": "10000/minute" for name in names}


@pytest.fixture(scope="session")
def mailing(session_database: Callable[[], str], mail_env: dict[str, str]) -> Iterator[Service]:
    """A running accounts that writes mail to files, with two workers."""
    with running("accounts", mail_env | {"DATABASE_URL": session_database(), "WORKERS": "2"}) as service:
        yield service


@pytest.fixture
def mailbox(mail_env: dict[str, str], mailbox_of: Callable[[Path], Any]) -> Any:
    return mailbox_of(Path(mail_env["MAIL_DIRECTORY"]))


def test_a_registration_is_verified_by_the_token_of_its_mail(
    mailing: Service, sign_up: SignUp, mailbox: Any
) -> None:
    person = sign_up(mailing)
    assert _profile(mailing, person)["email_verified"] is False

    token = mailbox.token(person.email, VERIFY)
    response = _confirm(mailing, "email-verification", token=token)

    assert (response.status_code, response.content) == (204, b"")
    assert _profile(mailing, person)["email_verified"] is True
    _is_refused(_confirm(mailing, "email-verification", token=token))
    mailing.wait_for_log("email verified", user_id=person.id, event_kind="email_verified")


def test_a_reset_sets_the_password_ends_all_sessions_and_verifies_the_address(
    mailing: Service, sign_up: SignUp, mailbox: Any
) -> None:
    person = sign_up(mailing)
    new = "an orchard of quiet bells"
    assert _request(mailing, "password-reset", person.email).status_code == 202

    response = _confirm(mailing, "password-reset", token=mailbox.token(person.email, RESET), new_password=new)

    assert (response.status_code, response.content) == (204, b"")
    assert mailing.client.get("/api/users/me", headers=person.headers).status_code == 401
    refreshed = mailing.client.post("/api/auth/refresh", json={"refresh_token": person.refresh_token})
    assert refreshed.status_code == 401
    assert _sign_in(mailing, person.email, person.password).status_code == 401
    tokens = _sign_in(mailing, person.email, new)
    headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    assert mailing.client.get("/api/users/me", headers=headers).json()["email_verified"] is True
    mailing.wait_for_log("session ended", user_id=person.id, reason="password_reset")
    revoked = mailing.client.get("/.well-known/revocations").json()["sessions"]
    ended = mailing.wait_for_log("session ended", user_id=person.id)["sid"]
    assert ended in revoked


def test_a_newer_token_replaces_older_ones(mailing: Service, sign_up: SignUp, mailbox: Any) -> None:
    person = sign_up(mailing)
    tokens = []
    for count in (1, 2):
        _request(mailing, "password-reset", person.email)
        tokens.append(mailbox.token(person.email, RESET, count=count))
    first, second = tokens

    _is_refused(_confirm(mailing, "password-reset", token=first, new_password="an orchard of bells"))
    response = _confirm(mailing, "password-reset", token=second, new_password="an orchard of bells")

    assert response.status_code == 204


def test_a_changed_password_makes_tokens_useless(
    mailing: Service, sign_up: SignUp, mailbox: Any, make: Any, body: Any
) -> None:
    person = sign_up(mailing)
    _request(mailing, "password-reset", person.email)
    reset, verify = mailbox.token(person.email, RESET), mailbox.token(person.email, VERIFY)
    change = body(make.password_change.build(current_password=person.password))
    assert mailing.client.patch("/api/users/me", headers=person.headers, json=change).status_code == 200

    _is_refused(_confirm(mailing, "password-reset", token=reset, new_password="an orchard of bells"))
    _is_refused(_confirm(mailing, "email-verification", token=verify))

    assert _sign_in(mailing, person.email, change["new_password"]).status_code == 200


def test_a_token_of_another_purpose_or_of_a_deactivated_user_is_refused(
    mailing: Service, sign_up: SignUp, mailbox: Any
) -> None:
    person = sign_up(mailing)
    _request(mailing, "password-reset", person.email)
    reset, verify = mailbox.token(person.email, RESET), mailbox.token(person.email, VERIFY)

    _is_refused(_confirm(mailing, "email-verification", token=reset))
    _is_refused(_confirm(mailing, "password-reset", token=verify, new_password="an orchard of bells"))
    gone = mailing.client.request(
        "DELETE", "/api/users/me", headers=person.headers, json={"password": person.password}
    )
    assert gone.status_code == 204
    _is_refused(_confirm(mailing, "email-verification", token=verify))
    _is_refused(_confirm(mailing, "password-reset", token=reset, new_password="an orchard of bells"))


def test_a_rejected_password_leaves_the_token_valid(mailing: Service, sign_up: SignUp, mailbox: Any) -> None:
    person = sign_up(mailing)
    _request(mailing, "password-reset", person.email)
    token = mailbox.token(person.email, RESET)

    weak = _confirm(mailing, "password-reset", token=token, new_password="password123")

    assert weak.status_code == 400
    assert "new_password" in weak.text
    good = _confirm(mailing, "password-reset", token=token, new_password="an orchard of bells")
    assert good.status_code == 204


def test_of_concurrent_uses_of_a_token_one_succeeds(mailing: Service, sign_up: SignUp, mailbox: Any) -> None:
    person = sign_up(mailing)
    _request(mailing, "password-reset", person.email)
    token = mailbox.token(person.email, RESET)
    passwords = [f"an orchard of bells {number}" for number in range(6)]

    with ThreadPoolExecutor(len(passwords)) as pool:
        uses = [
            pool.submit(_confirm, mailing, "password-reset", token=token, new_password=password)
            for password in passwords
        ]
        statuses = [use.result().status_code for use in uses]

    assert sorted(statuses) == [204, *[400] * 5]
    [chosen] = [password for password, status in zip(passwords, statuses, strict=True) if status == 204]
    assert _sign_in(mailing, person.email, chosen).status_code == 200


def test_a_request_reveals_nothing_and_mails_to_an_address_are_limited(
    mailing: Service, sign_up: SignUp, mailbox: Any, make: Any
) -> None:
    person, stranger = sign_up(mailing), make.credentials.build()
    account = _account(mailing, person.email)
    answers = set()
    for number in range(10):
        for email in (person.email, stranger.email):
            path = ("password-reset", "email-verification")[number % 2]
            response = _request(mailing, path, email)
            answers.add((response.status_code, response.content, tuple(sorted(response.headers))))

    assert len(answers) == 1
    # One of the registration, and those of the hour: requests above are dropped.
    mailing.wait_for_log("mail limited", account=account)
    wait_until(lambda: len(mailbox.of(person.email)) == 8, timeout_s=20)
    assert mailbox.of(stranger.email) == []


def test_tokens_are_stored_as_hashes_and_never_logged(
    database_url: str, tmp_path: Path, sign_up: SignUp, mailbox_of: Any, mail_env: dict[str, str]
) -> None:
    if not database_url.startswith("sqlite"):
        database_url = f"sqlite:///{tmp_path}/other.sqlite"
    mailbox = mailbox_of(tmp_path / "mail")
    env = {"DATABASE_URL": database_url, "MAIL_DIRECTORY": str(tmp_path / "mail"), "LOG_LEVEL": "debug"}
    with running("accounts", mail_env | env) as service:
        token = mailbox.token(sign_up(service).email, VERIFY)
        output = service.output()

    assert token not in output
    file = Path(database_url.removeprefix("sqlite:///"))
    content = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert token.encode() not in content
    assert hashlib.sha256(token.encode()).digest() in content
    for mail in (tmp_path / "mail").glob("*.eml"):
        assert mail.stat().st_mode & 0o777 == 0o600


def test_sign_in_can_require_a_verified_address(
    session_database: Callable[[], str], mail_env: dict[str, str], make: Any, body: Any, mailbox: Any
) -> None:
    env = mail_env | {"DATABASE_URL": session_database(), "SIGN_IN_REQUIRES_VERIFICATION": "true"}
    request = make.sign_up.build()
    with running("accounts", env) as service:
        service.client.post("/api/users", json=body(request))

        before = _sign_in(service, request.email, request.password)
        wrong = _sign_in(service, request.email, "an orchard of bells")
        _confirm(service, "email-verification", token=mailbox.token(request.email, VERIFY))
        after = _sign_in(service, request.email, request.password)

    assert (before.status_code, wrong.status_code, after.status_code) == (403, 401, 200)
    assert "not verified" in before.json()["detail"]


def test_hidden_addresses_get_a_mail_instead_of_a_response(
    session_database: Callable[[], str], mail_env: dict[str, str], make: Any, body: Any, mailbox: Any
) -> None:
    env = mail_env | {
        "DATABASE_URL": session_database(),
        "SIGN_IN_REQUIRES_VERIFICATION": "true",
        "SIGN_UP_HIDES_ADDRESSES": "true",
        "MAIL_VERIFY_URL": "https://shop.example.com/verify",
    }
    first = make.sign_up.build()
    other = make.sign_up.build(email=first.email)
    with running("accounts", env) as service:
        answers = [service.client.post("/api/users", json=body(each)) for each in (first, other)]
        # Neither the chosen password of a new user nor that of an existing one signs in.
        refused = [_sign_in(service, each.email, each.password) for each in (first, other)]
        [exists] = mailbox.wait(first.email, EXISTS)
        [verify] = mailbox.wait(first.email, VERIFY)
        token = mailbox.token_of(verify)
        assert _confirm(service, "email-verification", token=token).status_code == 204
        assert _sign_in(service, first.email, first.password).status_code == 200

    assert {(each.status_code, each.content) for each in answers} == {(202, b"")}
    assert [each.status_code for each in refused] == [401, 401]
    assert refused[0].json()["detail"] == refused[1].json()["detail"]
    assert f"https://shop.example.com/verify#token={token}" in verify.get_content()
    assert "token" not in exists.get_content()


def test_without_mail_requests_are_answered_with_503(service: Service, sign_up: SignUp) -> None:
    person = sign_up(service)

    for path in ("password-reset", "email-verification"):
        response = _request(service, path, person.email)
        assert response.status_code == 503
        assert "MAIL_TRANSPORT" in response.json()["detail"]


def _profile(service: Service, person: Any) -> dict[str, Any]:
    profile: dict[str, Any] = service.client.get("/api/users/me", headers=person.headers).json()
    return profile


def _account(service: Service, email: str) -> str:
    """Return the hash of an account, which is logged for a refused sign-in."""
    known = len(_refused_accounts(service))
    _sign_in(service, email, "not the password")
    wait_until(lambda: len(_refused_accounts(service)) > known)
    return _refused_accounts(service)[-1]


def _refused_accounts(service: Service) -> list[str]:
    return [line["account"] for line in service.logs() if line["message"] == "token refused"]


def _request(service: Service, path: str, email: str) -> httpx2.Response:
    return service.client.post(f"/api/auth/{path}", json={"email": email})


def _confirm(service: Service, path: str, **body: str) -> httpx2.Response:
    return service.client.post(f"/api/auth/{path}/confirm", json=body)


def _sign_in(service: Service, email: str, password: str) -> httpx2.Response:
    return service.client.post("/api/auth/token", json={"email": email, "password": password})


def _is_refused(response: httpx2.Response) -> None:
    assert response.status_code == 400, response.text
    assert "request a new mail" in response.text
