"""Users of NATS: a file of credentials, a key, and TLS, with real servers."""

import base64
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starkeel_config import Secret
from starkeel_db import BrokerUnavailableError
from starkeel_messaging import MessagingSettings
from starkeel_messaging._brokers.base import BrokerClient
from starkeel_messaging._nats_credentials import _checksum
from starkeel_messaging._plugin import _client

from packages.messaging.tests.conftest import logged as logged
from packages.messaging.tests.messaging_shop import event, outgoing, shop

from ...support.certificates import Authority
from .own_nats import OwnNats

pytestmark = pytest.mark.timeout(120)

_KINDS = {"O": 14, "A": 0, "U": 20}
_SEED = 18


class Key(NamedTuple):
    """A key of an operator, an account or a user, with the texts that NATS has for it."""

    private: Ed25519PrivateKey
    public: str
    seed: str

    @classmethod
    def of(cls, kind: str) -> "Key":
        """Make one."""
        private, prefix = Ed25519PrivateKey.generate(), _KINDS[kind] << 3
        begin = bytes([_SEED << 3 | prefix >> 5, (prefix & 31) << 3])
        public = _text(bytes([prefix]) + private.public_key().public_bytes_raw())
        return cls(private, public, _text(begin + private.private_bytes_raw()))

    def token(self, subject: str, **claims: Any) -> str:
        """Return a JWT that this key has signed."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": "x", "iat": int(time.time()), "iss": self.public, "name": "x", "sub": subject}
        signed = ".".join(_url_text(json.dumps(part).encode()) for part in (head, {**body, "nats": claims}))
        return f"{signed}.{_url_text(self.private.sign(signed.encode()))}"


def _text(coded: bytes) -> str:
    return base64.b32encode(coded + _checksum(coded)).decode().rstrip("=")


def _url_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def operated(user: Key) -> tuple[str, str]:
    """Return the configuration of a server whose accounts an operator signs, and a user's credentials."""
    operator, system, account = Key.of("O"), Key.of("A"), Key.of("A")
    names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage")
    most = dict.fromkeys((*names, "streams", "consumer"), -1) | {"wildcards": True}
    accounts = {
        key.public: operator.token(key.public, type="account", version=2, limits=limits)
        for key, limits in ((account, most), (system, {name: most[name] for name in names[:-2]}))
    }
    of_operator = operator.token(operator.public, type="operator", version=2, system_account=system.public)
    of_user = account.token(user.public, type="user", version=2, subs=-1, data=-1, payload=-1)
    preloaded = ", ".join(f"{public}: {token}" for public, token in accounts.items())
    configuration = (
        f"operator: {of_operator}\nsystem_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {preloaded} }}\n"
    )
    return configuration, (
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def client_of(url: str, credentials: str | None) -> BrokerClient:
    secret = None if credentials is None else Secret(credentials)
    client = _client(MessagingSettings(broker_url=Secret(url), broker_credentials=secret))
    assert client is not None
    return client


async def is_accepted(url: str, credentials: str | None) -> bool:
    """Return whether a server accepts an event."""
    client = client_of(url, credentials)
    async with client.running():
        try:
            await client.append("depot", [outgoing(event(1))])
        except BrokerUnavailableError:
            return False
        return (await client.lag("depot", after="")).waiting >= 1


@pytest.mark.parametrize("kind", ["file", "seed"])
async def test_a_user_signs_in(
    tmp_path: Path, postgres_url: str, kind: str, logged: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    user, other = Key.of("U"), Key.of("U")
    configuration, credentials = operated(user)
    wrong = credentials.replace(user.seed, other.seed)
    if kind == "seed":
        configuration = f"authorization: {{ users: [ {{ nkey: {user.public} }} ] }}\n"
        credentials, wrong = user.seed, other.seed
    server = OwnNats(tmp_path / "nats", configuration)
    server.start()
    try:
        assert not await is_accepted(server.url, None)
        assert not await is_accepted(server.url, wrong)
        assert await is_accepted(server.url, credentials)
        async with shop(postgres_url, server.url, broker_credentials=Secret(credentials)) as running:
            assert await running.until_handled(1) == [1]
            # It signs in again by itself.
            server.kill()
            server.start()
            await running.publish(2)
            assert await running.until_handled(2) == [1, 2]
    finally:
        server.kill()
    printed = f"{logged}{capfd.readouterr()}"
    assert user.seed not in printed
    assert credentials not in printed


async def test_tls_has_an_authority_of_its_own_and_is_never_left_out(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    certificate, key = authority.issue("broker")
    own, own_key = authority.issue("client")
    user = "authorization: { user: depot, password: secret }\n"
    trusted = f"ca_file: {authority.certificate}, verify: true"
    tls = f"tls: {{ cert_file: {certificate}, key_file: {key}, {trusted} }}\n"
    secured, plain = OwnNats(tmp_path / "secured", user + tls), OwnNats(tmp_path / "plain", user)
    secured.start()
    plain.start()

    def url(server: OwnNats, trusted: Authority, *, has_own: bool = True) -> str:
        query = f"ssl_ca_certs={trusted.certificate}"
        query += f"&ssl_certfile={own}&ssl_keyfile={own_key}" if has_own else ""
        return server.url.replace("nats://", "tls://depot:secret@") + f"?{query}"

    try:
        assert await is_accepted(url(secured, authority), None)
        assert not await is_accepted(url(secured, other), None)
        assert not await is_accepted(url(secured, authority, has_own=False), None)
        # A password is not sent to a server that offers no TLS.
        assert not await is_accepted(url(plain, authority), None)
        assert await is_accepted(plain.url.replace("nats://", "nats://depot:secret@"), None)
    finally:
        secured.kill()
        plain.kill()
