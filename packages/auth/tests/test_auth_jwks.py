"""Keys of another service: fetched over a real socket, cached, replaced, used during an outage."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
from litestar import Litestar, get
from litestar.testing import TestClient
from starkeel_auth import (
    AuthPlugin,
    AuthSettings,
    KeysUnavailableError,
    SigningKeys,
    authenticated,
    generate_private_key_pem,
)

Bearer = Callable[..., dict[str, str]]
MakeSettings = Callable[..., AuthSettings]


class Issuer(Protocol):
    document: Any
    status: int
    headers: dict[str, str]
    may_respond: Any
    fetches: int

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def publish(self, *keys: SigningKeys) -> None: ...
    def wait_for_fetches(self, count: int) -> None: ...


class Clock:
    """Monotonic clock that is advanced by tests."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@get("/guarded", guards=[authenticated])
async def guarded() -> str:
    return "in"


class Verifier:
    """A service that verifies with fetched keys."""

    def __init__(self, settings: AuthSettings) -> None:
        self.clock = Clock()
        self.plugin = AuthPlugin.verifier(settings)
        self.app = Litestar([guarded], plugins=[self.plugin])
        self.client: TestClient[Litestar] = TestClient(self.app)

    def status(self, headers: dict[str, str]) -> int:
        return self.client.get("/guarded", headers=headers).status_code

    def is_ready(self) -> bool:
        async def check() -> bool:
            try:
                await self.plugin.check_ready()
            except KeysUnavailableError:
                return False
            return True

        with self.client.portal() as portal:
            return portal.call(check)


@contextmanager
def verifier(settings: AuthSettings) -> Iterator[Verifier]:
    started = Verifier(settings)
    with pytest.MonkeyPatch.context() as patch:
        # Before the start, which fetches: a time of another clock would lie in the future.
        patch.setattr("starkeel_auth._tokens.jwks.monotonic", started.clock)
        with started.client:
            yield started


@pytest.fixture
def new_keys() -> SigningKeys:
    return SigningKeys.from_pem(generate_private_key_pem())


def test_tokens_are_verified_with_fetched_keys(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    with verifier(auth_settings()) as service:
        assert [service.status(bearer()) for _ in range(20)] == [200] * 20
        assert service.is_ready()

    assert issuer.fetches == 1


def test_an_unknown_key_is_fetched(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, keys: SigningKeys, new_keys: SigningKeys
) -> None:
    with verifier(auth_settings()) as service:
        assert service.status(bearer()) == 200
        issuer.publish(new_keys, keys)

        assert service.status(bearer(by=new_keys)) == 200
        assert service.status(bearer()) == 200

    assert issuer.fetches == 2


def test_tokens_of_strangers_neither_multiply_fetches_nor_delay_a_new_key(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, new_keys: SigningKeys
) -> None:
    strangers = [SigningKeys.from_pem(generate_private_key_pem()) for _ in range(40)]
    with verifier(auth_settings()) as service, ThreadPoolExecutor(40) as pool:
        assert service.status(bearer()) == 200
        refused = [pool.submit(service.status, bearer(by=keys)) for keys in strangers]
        assert {response.result(30) for response in refused} == {401}
        # Those that arrive during a fetch share the next one.
        assert issuer.fetches <= 3

        fetches = issuer.fetches
        issuer.publish(new_keys)
        assert service.status(bearer(by=new_keys)) == 200
        assert issuer.fetches == fetches + 1


def test_concurrent_requests_share_one_fetch(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    issuer.may_respond.clear()
    with verifier(auth_settings()) as service, ThreadPoolExecutor(8) as pool:
        responses = [pool.submit(service.status, bearer()) for _ in range(8)]
        issuer.wait_for_fetches(1)
        issuer.may_respond.set()
        assert [response.result(30) for response in responses] == [200] * 8

    assert issuer.fetches == 1


def test_cached_keys_are_used_during_an_outage_of_the_issuer(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, new_keys: SigningKeys
) -> None:
    with verifier(auth_settings()) as service:
        assert service.status(bearer()) == 200
        issuer.stop()

        assert service.status(bearer()) == 200
        assert service.status(bearer(by=new_keys)) == 401
        assert service.status(bearer()) == 200
        assert service.is_ready()


def test_keys_beyond_their_maximum_age_are_rejected_until_fetched_again(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    with verifier(auth_settings(jwks_max_age_s=3600)) as service:
        assert service.status(bearer()) == 200
        issuer.stop()
        service.clock.now += 3601

        assert service.status(bearer()) == 503
        assert not service.is_ready()
        issuer.start()
        service.clock.now += 1
        assert service.status(bearer()) == 200
        assert service.is_ready()


def test_a_request_is_answered_with_503_while_no_key_was_fetched(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    issuer.stop()
    with verifier(auth_settings()) as service:
        answer = service.client.get("/guarded", headers=bearer())
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert service.client.get("/guarded").status_code == 401

        issuer.start()
        service.clock.now += 1
        assert service.status(bearer()) == 200


def test_requests_during_an_outage_do_not_each_trigger_a_fetch(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    issuer.status = 500
    with verifier(auth_settings()) as service:
        assert service.status(bearer()) == 503
        before = issuer.fetches
        assert {service.status(bearer()) for _ in range(20)} == {503}

        # The background task may have fetched meanwhile, but not once per request.
        assert issuer.fetches < before + 20


def test_an_unresponsive_issuer_delays_a_request_by_the_timeout_only(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    issuer.may_respond.clear()
    with verifier(auth_settings(jwks_timeout_s=0.1)) as service:
        assert service.status(bearer()) == 503


def test_keys_are_refreshed_in_the_background_and_withdrawn_ones_dropped(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, new_keys: SigningKeys
) -> None:
    with verifier(auth_settings(jwks_refresh_s=0.02)) as service:
        assert service.status(bearer()) == 200
        issuer.publish(new_keys)
        # When the second fetch from here has started, the first has ended.
        issuer.wait_for_fetches(issuer.fetches + 3)

        assert service.status(bearer()) == 401
        assert service.status(bearer(by=new_keys)) == 200


def test_a_key_set_without_a_key_leaves_the_last_good_set_in_use(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, new_keys: SigningKeys
) -> None:
    with verifier(auth_settings(jwks_max_age_s=3600)) as service:
        assert service.status(bearer()) == 200
        issuer.publish()

        assert service.status(bearer(by=new_keys)) == 401
        assert service.status(bearer()) == 200
        service.clock.now += 3601
        assert service.status(bearer()) == 503


def test_missing_keys_are_critical_until_they_were_fetched_once(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer
) -> None:
    issuer.stop()
    with verifier(auth_settings(jwks_max_age_s=3600)) as service:
        assert service.status(bearer()) == 503
        assert not service.is_ready()
        assert service.plugin.readiness_critical
        issuer.start()
        service.clock.now += 1
        assert service.status(bearer()) == 200
        assert not service.plugin.readiness_critical
        issuer.stop()
        service.clock.now += 3601
        assert service.status(bearer()) == 503
        assert not service.is_ready()
        assert not service.plugin.readiness_critical
