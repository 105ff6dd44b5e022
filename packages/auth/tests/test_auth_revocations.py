"""Ended sessions of another service: fetched over a real socket, followed, kept during an outage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from prometheus_client import REGISTRY
from starkeel_auth import AuthPlugin, AuthSettings, Principal, authenticated
from starkeel_auth._tokens.revocations import RevocationsUnavailableError
from starkeel_testing import wait_until

Bearer = Callable[..., dict[str, str]]
MakeSettings = Callable[..., AuthSettings]


class Server(Protocol):
    document: Any
    status: int
    headers: dict[str, str]
    may_respond: Any
    fetches: int
    conditions: list[str | None]
    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def wait_for_fetches(self, count: int) -> None: ...


@get("/guarded", guards=[authenticated])
async def guarded(principal: NamedDependency[Principal]) -> dict[str, Any]:
    return {"session": principal.session_id, "is_valid": principal.is_valid()}


class Verifier:
    """A service that follows a list of ended sessions."""

    def __init__(self, settings: AuthSettings) -> None:
        self.app = Litestar([guarded], plugins=[AuthPlugin.verifier(settings)])
        self.client: TestClient[Litestar] = TestClient(self.app)

    def status(self, headers: dict[str, str]) -> int:
        return self.client.get("/guarded", headers=headers).status_code

    def is_ready(self) -> bool:
        checks = [plugin for plugin in self.app.plugins if getattr(plugin, "readiness_name", "") == NAME]

        async def check() -> bool:
            for each in checks:
                try:
                    await each.check_ready()  # type: ignore[attr-defined]  # a readiness hook
                except RevocationsUnavailableError:
                    return False
            return True

        assert [each.readiness_critical for each in checks] == [False]  # type: ignore[attr-defined]  # as above
        with self.client.portal() as portal:
            return portal.call(check)


NAME = "token revocations"


@contextmanager
def verifier(settings: AuthSettings) -> Iterator[Verifier]:
    started = Verifier(settings)
    with started.client:
        yield started


@pytest.fixture
def following(issuer: Any, revocations: Server, auth_settings: MakeSettings) -> Callable[..., AuthSettings]:
    def make(**changed: Any) -> AuthSettings:
        return auth_settings(revocations_url=revocations.url, revocations_interval_s=0.02, **changed)

    return make


def test_the_token_of_an_ended_session_is_refused(
    revocations: Server, following: MakeSettings, bearer: Bearer
) -> None:
    with verifier(following()) as service:
        response = service.client.get("/guarded", headers=bearer(sid="one"))
        assert response.json() == {"session": "one", "is_valid": True}
        revocations.document = {"sessions": ["one"]}
        _wait_for_refusal(service, bearer(sid="one"))

        refused = service.client.get("/guarded", headers=bearer(sid="one"))

        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert "session has ended" in refused.headers["www-authenticate"]
        assert service.status(bearer(sid="two")) == 200
        assert service.status(bearer()) == 200


def test_an_unchanged_list_is_not_sent_again(
    revocations: Server, following: MakeSettings, bearer: Bearer
) -> None:
    revocations.headers["ETag"] = '"first"'
    revocations.document = {"sessions": ["one"]}
    with verifier(following()) as service:
        _wait_for_refusal(service, bearer(sid="one"))
        revocations.wait_for_fetches(5)
        assert revocations.conditions[0] is None
        assert set(revocations.conditions[1:]) == {'"first"'}
        # The list stays in use, and counts as fetched.
        assert service.status(bearer(sid="one")) == 401
        assert service.is_ready()

        revocations.document = {"sessions": ["two"]}
        revocations.headers["ETag"] = '"second"'
        _wait_for_refusal(service, bearer(sid="two"))
        assert service.status(bearer(sid="one")) == 200


def test_without_the_setting_nothing_is_fetched(
    issuer: Any, revocations: Server, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    revocations.document = {"sessions": ["one"]}
    with verifier(auth_settings()) as service:
        assert service.status(bearer(sid="one")) == 200

    assert revocations.fetches == 0


UNUSABLE: dict[str, Any] = {
    "an error": (500, {}, {"sessions": []}),
    "a redirect": (302, {"Location": "http://127.0.0.1:1/"}, b""),
    "not JSON": (200, {}, b"<html>"),
    "another document": (200, {}, {"keys": []}),
    "not a list": (200, {}, {"sessions": "one"}),
    "not texts": (200, {}, {"sessions": [1]}),
    "too large": (200, {}, b'{"sessions": [' + b" " * 9_000_000 + b"]}"),
    "too deeply nested": (200, {}, b"[" * 60_000),
    "compressed": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\x00"),
}


@pytest.mark.parametrize(("status", "headers", "document"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_invalid_list_leaves_the_last_one_in_use(
    revocations: Server,
    following: MakeSettings,
    bearer: Bearer,
    status: int,
    headers: dict[str, str],
    document: Any,
) -> None:
    revocations.document = {"sessions": ["one"]}
    with verifier(following()) as service:
        _wait_for_refusal(service, bearer(sid="one"))
        revocations.status, revocations.headers, revocations.document = status, headers, document
        # The first of these may have started before the change.
        revocations.wait_for_fetches(revocations.fetches + 2)

        assert service.status(bearer(sid="one")) == 401
        assert service.status(bearer(sid="two")) == 200


def test_a_list_that_is_not_fetched_is_reported_and_tokens_stay_valid(
    revocations: Server, following: MakeSettings, bearer: Bearer
) -> None:
    with verifier(following(jwks_timeout_s=0.1)) as service:
        wait_until(service.is_ready, what="the first list")
        fetched_at = _fetched_at()
        assert fetched_at > 1_700_000_000
        revocations.stop()
        wait_until(lambda: not service.is_ready(), what="the list to be out of date")
        assert service.status(bearer(sid="one")) == 200

        revocations.document = {"sessions": ["one"]}
        revocations.start()
        _wait_for_refusal(service, bearer(sid="one"))
        assert service.is_ready()
        assert _fetched_at() > fetched_at


def test_an_issuer_without_a_list_does_not_prevent_a_start(
    revocations: Server, following: MakeSettings, bearer: Bearer
) -> None:
    revocations.status = 404
    with verifier(following()) as service:
        assert service.status(bearer(sid="one")) == 200
        assert not service.is_ready()


def _wait_for_refusal(service: Verifier, headers: dict[str, str]) -> None:
    wait_until(lambda: service.status(headers) == 401, what="the token to be refused")


def _fetched_at() -> float:
    value = REGISTRY.get_sample_value("auth_revocations_fetched_timestamp_seconds")
    assert value is not None
    return value
