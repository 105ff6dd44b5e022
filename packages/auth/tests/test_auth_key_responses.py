"""Responses of the issuer that are not a key set: status, media type, encoding, size and shape."""

from typing import Any

import pytest
from starkeel_auth import SigningKeys
from structlog.testing import capture_logs

from .test_auth_jwks import Bearer, Issuer, MakeSettings, new_keys, verifier

__all__ = ["new_keys"]

JSON = {"Content-Type": "application/json"}
NEW = object()
"""Stands for a valid document with a new key."""
UNUSABLE: dict[str, Any] = {
    "an error": (500, JSON, NEW, "has status 500"),
    "accepted": (202, JSON, NEW, "has status 202"),
    "partial": (206, JSON, NEW, "has status 206"),
    "a redirect": (302, JSON | {"Location": "http://127.0.0.1:1/"}, b"", "has status 302"),
    "HTML": (200, {"Content-Type": "text/html"}, NEW, "media type 'text/html'"),
    "no media type": (200, {}, NEW, "media type ''"),
    "another media type": (200, {"Content-Type": "application/jsonp"}, NEW, "media type 'application/jsonp'"),
    "not JSON": (200, JSON, b"<html>", "not a JSON Web Key Set"),
    "empty": (200, JSON, b"", "not a JSON Web Key Set"),
    "another document": (200, JSON, {"issuer": "x"}, "not a JSON Web Key Set"),
    "a list": (200, JSON, [], "not a JSON Web Key Set"),
    "too large": (200, JSON, b'{"keys": [' + b" " * 70_000 + b"]}", "larger than 65536 bytes"),
    "too deeply nested": (200, JSON, b"[" * 60_000, "not a JSON Web Key Set"),
    "not UTF-8": (200, JSON, b"\xff\xfe", "not a JSON Web Key Set"),
    "compressed": (200, JSON | {"Content-Encoding": "gzip"}, NEW, "content encoding 'gzip'"),
}


@pytest.mark.parametrize(("status", "headers", "document", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_invalid_key_set_is_ignored(
    issuer: Issuer,
    auth_settings: MakeSettings,
    bearer: Bearer,
    new_keys: SigningKeys,
    status: int,
    headers: dict[str, str],
    document: Any,
    reason: str,
) -> None:
    with verifier(auth_settings()) as service:
        assert service.status(bearer()) == 200
        issuer.status, issuer.headers = status, headers
        issuer.document = new_keys.jwks() if document is NEW else document

        with capture_logs() as logged:
            assert service.status(bearer(by=new_keys)) == 401
        assert issuer.fetches == 2
        assert service.status(bearer()) == 200
    (line,) = [line for line in logged if line["event"] == "token key fetch failed"]
    assert line["error"].startswith("KeySetError: ")
    assert reason in line["error"]


@pytest.mark.parametrize(
    "media_type",
    ["application/jwk-set+json", "application/jwk-set+json; charset=utf-8", "Application/JSON;charset=UTF-8"],
)
def test_a_key_set_may_have_its_registered_media_type(
    issuer: Issuer, auth_settings: MakeSettings, bearer: Bearer, media_type: str
) -> None:
    issuer.headers = {"Content-Type": media_type}
    with verifier(auth_settings()) as service:
        assert service.status(bearer()) == 200
