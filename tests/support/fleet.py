"""Every service of the registry together, with users of accounts, and tokens that have a flaw."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from uuid import uuid4

import jwt
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running, wait_until

from tools.registry import read, scopes, upstreams, urls

from .api_cases import api_cases

NEEDED_SERVICES = ("accounts",)

ISSUER = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}


def without_limits(service: str) -> dict[str, str]:
    """Return settings that lift every rate limit of a service: all requests come from one address."""
    names = import_module(f"{service}.settings").Settings.__struct_fields__
    return {name.upper(): "10000/second" for name in names if name.startswith("rate_limit_")}


@dataclass(frozen=True)
class Person:
    """A registered user, with the tokens of a session."""

    id: str
    email: str
    password: str
    token: str
    refresh_token: str

    @property
    def bearer(self) -> str:
        return f"Bearer {self.token}"

    @property
    def session_id(self) -> str:
        return str(self.claims["sid"])

    @property
    def claims(self) -> dict[str, Any]:
        decoded: dict[str, Any] = jwt.decode(self.token, options={"verify_signature": False})
        return decoded


SUBJECTS = {
    "/api/auth/email-verification": "Confirm your email address",
    "/api/auth/password-reset": "Reset your password",
}
"""Subjects of mails, by the path of the request for them."""
_CLIENT = {"id": "reports", "secrets": [uuid4().hex], "scopes": scopes(read())}
_TOKEN = re.compile(r"^([A-Za-z0-9_-]{43})\r?$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Fleet:
    """Running services, by name.

    Attributes:
        mail: Directory of the mails of accounts.
    """

    services: dict[str, Service]
    keys: SigningKeys
    mail: Path

    @property
    def service_credentials(self) -> str:
        """Value of `Authorization` with the credentials of a service that accounts has registered."""
        pair = f"{_CLIENT['id']}:{_CLIENT['secrets'][0]}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def mailed_token(self, person: Person, path: str) -> str:
        """Request a mail to a user, and return the token in it."""
        before = len(self._mails(person, path))
        requested = self.services["accounts"].client.post(path, json={"email": person.email})
        assert requested.status_code == 202, requested.text
        # A verified address gets no other mail for its verification.
        wait_until(lambda: len(self._mails(person, path)) > before, what=f"a mail of {path}")
        [token] = _TOKEN.findall(self._mails(person, path)[-1].get_content())
        return str(token)

    def _mails(self, person: Person, path: str) -> list[EmailMessage]:
        files = sorted(self.mail.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        mails = [
            cast("EmailMessage", message_from_bytes(file.read_bytes(), policy=default)) for file in files
        ]
        return [mail for mail in mails if mail["To"] == person.email and mail["Subject"] == SUBJECTS[path]]

    def new_person(self) -> Person:
        """Register a user and sign in."""
        client = self.services["accounts"].client
        credentials = {"email": f"{uuid4().hex}@example.com", "password": f"quiet lighthouse {uuid4().hex}"}
        created = client.post("/api/users", json=credentials)
        assert created.status_code == 201, created.text
        tokens = client.post("/api/auth/token", json=credentials).json()
        return Person(
            id=created.json()["id"],
            token=tokens["access_token"],
            refresh_token=tokens["refresh_token"],
            **credentials,
        )

    def values(self, person: Person, service: str) -> dict[str, str]:
        """Return what replaces an example, by name: ids and tokens of a user, and those of a new object."""
        shared = {
            "email": f"{uuid4().hex}@example.com",
            "session_id": person.session_id,
            "refresh_token": person.refresh_token,
            "password": person.password,
            "current_password": person.password,
            "Idempotency-Key": str(uuid4()),
        }
        created = api_cases()[service].values(self.services[service].client, {"Authorization": person.bearer})
        return {**shared, **created}

    def authorization(self, person: Person, **claims: str) -> str:
        """Return a value of `Authorization`: a user's token without a session, with other claims."""
        own = {name: value for name, value in person.claims.items() if name != "sid"}
        return f"Bearer {self.keys.sign(own | claims)}"

    def forged(self, person: Person, flaw: str) -> str:
        """Return a value of `Authorization` that has a flaw."""
        return f"Bearer {self._tokens()[flaw](person.claims)}" if flaw in self._tokens() else FLAWED[flaw]

    def _tokens(self) -> dict[str, Callable[[dict[str, Any]], str]]:
        now, sign = int(time.time()), self.keys.sign
        return {
            "expired": lambda claims: sign({**claims, "iat": now - 7200, "exp": now - 3600}),
            "other issuer": lambda claims: sign({**claims, "iss": "https://evil.example"}),
            "other audience": lambda claims: sign({**claims, "aud": "other"}),
            "without exp": lambda claims: sign({k: claims[k] for k in claims if k != "exp"}),
            "without sub": lambda claims: sign({k: claims[k] for k in claims if k != "sub"}),
            "other key": SigningKeys.from_pem(generate_private_key_pem()).sign,
            "other user": lambda claims: _with_payload(sign(claims), {**claims, "sub": str(uuid4())}),
            "no signature": lambda claims: jwt.encode(
                claims, None, algorithm="none", headers={"typ": "at+jwt", "kid": self._kid}
            ),
            "public key as secret": lambda claims: self._signed_by_public_key(claims),
        }

    @property
    def _kid(self) -> str:
        return str(self.keys.jwks()["keys"][0]["kid"])

    def _signed_by_public_key(self, claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "typ": "at+jwt", "kid": self._kid}
        text = f"{_encoded(header)}.{_encoded(claims)}"
        secret = base64.urlsafe_b64decode(self.keys.jwks()["keys"][0]["x"] + "=")
        digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


FLAWED = {
    "empty": "",
    "no value": "Bearer",
    "garbage": "Bearer x.y.z",
    "two parts": "Bearer a b",
    "basic": "Basic YWRhOmFkYQ==",
    "long": f"Bearer {'a' * 4000}",
}


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _with_payload(token: str, claims: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{_encoded(claims)}.{signature}"


@contextmanager
def running_fleet(databases: Callable[[], str], **env: str) -> Iterator[Fleet]:
    """Run every service of the registry, without rate limits.

    Args:
        databases: Factory of empty databases.
        env: Further settings of all.
    """
    pem, registered = generate_private_key_pem(), read()
    services: dict[str, Service] = {}
    with ExitStack() as stack:
        mail = Path(stack.enter_context(TemporaryDirectory()))
        waiting = list(registered)
        while waiting:
            # Each after those that it calls.
            service = next(each for each in waiting if services.keys() >= {*upstreams(each, registered)})
            waiting.remove(service)
            own = without_limits(service.name) | ISSUER | env
            if "database" in service.needs:
                own["DATABASE_URL"] = databases()
            if "signing key" in service.needs:
                own |= {"JWT_PRIVATE_KEY": pem, "SERVICE_CLIENTS": json.dumps([_CLIENT])}
                own |= {"MAIL_TRANSPORT": "file", "MAIL_DIRECTORY": str(mail), "MAILS_PER_HOUR": "1000"}
            if "tokens" in service.needs:
                own["JWT_REVOCATIONS_INTERVAL_SECONDS"] = "1"
            own |= urls(service, {name: each.url for name, each in services.items()}, registered)
            services[service.name] = stack.enter_context(running(service.name, own, timeout_s=90))
        yield Fleet(services, SigningKeys.from_pem(pem), mail)
