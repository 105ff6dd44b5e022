"""Calls to the API of a service, on request with a token of a development user."""

import asyncio
import json
import secrets
from contextlib import suppress
from http.client import HTTPException
from typing import Final
from urllib.parse import quote

import msgspec

from .channel import Channel
from .fetch import Answer, fetch
from .services import Services

_TIMEOUT_S: Final = 15.0
_MAX_SHOWN: Final = 100_000
_JSON: Final = {"Content-Type": "application/json"}
# Percent signs are kept, as the path may be encoded already.
_SAFE: Final = "/?&=%:@!$'()*+,;~-._[]"


class CallError(Exception):
    """A call that could not be made; the message is shown."""


class _Token(msgspec.Struct):
    access_token: str


class CallAnswer(msgspec.Struct, frozen=True):
    """A response, as it is shown."""

    title: str
    text: str
    trace_id: str


class Calls:
    """Calls to services.

    Args:
        services: The only ones that are called.
        channel: States how a token is obtained.
    """

    def __init__(self, services: Services, channel: Channel) -> None:
        self._services = services
        self._channel = channel
        self._token = ""
        self._lock = asyncio.Lock()

    @property
    def can_sign_up(self) -> bool:
        """Return whether a token can be obtained."""
        return self._channel.sign_up is not None

    async def send(self, service: str, method: str, path: str, *, body: str, with_token: bool) -> CallAnswer:
        """Send a request and return its response.

        Args:
            service: Name of the service.
            method: Method of the request.
            path: Path with query.
            body: Body as JSON; empty for none.
            with_token: Whether to send a token of a development user.

        Raises:
            CallError: There is no such service, or it does not respond.
        """
        found = self._services.get(service)
        if found is None or not path.startswith("/"):
            raise CallError(f"{service!r} is no service, or {path[:100]!r} is no path")
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        if body:
            headers |= _JSON
        url = f"{found.address.url}{quote(path, safe=_SAFE)}"
        try:
            answer = await self._request(url, method, headers, body, with_token=with_token)
        except (OSError, ValueError, HTTPException, msgspec.DecodeError) as error:
            raise CallError(f"{service} did not respond: {type(error).__name__}: {error}") from error
        return CallAnswer(f"{method} {path}: {answer.status}", _text(answer), trace_id)

    async def _request(
        self, url: str, method: str, headers: dict[str, str], body: str, *, with_token: bool
    ) -> Answer:
        data = body.encode() if body else None
        if not with_token:
            return await fetch(url, method=method, headers=headers, body=data, timeout_s=_TIMEOUT_S)
        for is_last in (False, True):
            given = headers | {"Authorization": f"Bearer {await self._obtain(is_new=is_last)}"}
            answer = await fetch(url, method=method, headers=given, body=data, timeout_s=_TIMEOUT_S)
            # The token may have expired, or the database is a new one.
            if answer.status != 401:
                break
        return answer

    async def _obtain(self, *, is_new: bool) -> str:
        async with self._lock:
            if is_new or not self._token:
                self._token = await self._sign_up()
            return self._token

    async def _sign_up(self) -> str:
        sign_up = self._channel.sign_up
        issuer = self._services.get(sign_up.service) if sign_up else None
        if sign_up is None or issuer is None:
            raise CallError("no service provides tokens")
        user = {
            "email": f"dashboard-{secrets.token_hex(6)}@example.com",
            "password": secrets.token_urlsafe(24),
        }
        body = json.dumps(user).encode()
        await fetch(f"{issuer.address.url}{sign_up.sign_up_path}", method="POST", headers=_JSON, body=body)
        answer = await fetch(
            f"{issuer.address.url}{sign_up.token_path}", method="POST", headers=_JSON, body=body
        )
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(answer.body, type=_Token).access_token
        raise CallError(f"{sign_up.service} issued no token: {answer.status} {_text(answer)[:300]}")


def _text(answer: Answer) -> str:
    """Return the body as text, JSON with indentation."""
    text = answer.body[:_MAX_SHOWN].decode(errors="replace")
    with suppress(msgspec.DecodeError):
        return msgspec.json.format(answer.body).decode()[:_MAX_SHOWN]
    return text
