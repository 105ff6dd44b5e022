"""Public keys of an issuer, in the forms that a confused library uses as a secret."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .._rows.verdict import Undecided
from .._target.service import Service

_PATHS = ("/.well-known/jwks.json", "/jwks.json", "/oauth2/jwks", "/api/.well-known/jwks.json")
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
# SubjectPublicKeyInfo (RFC 5480, RFC 8410) of these curves up to the point itself.
_CURVES = {
    "P-256": bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
    "P-384": bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
    "Ed25519": bytes.fromhex("302a300506032b6570032100"),
}


def find_keys(service: Service) -> list[Mapping[str, Any]]:
    """Return the keys of `auth.jwks_file` or `auth.jwks_path`, or of the first usual path that has some.

    Raises:
        Undecided: The file has none.
    """
    auth = service.config.auth
    if auth.jwks_file:
        try:
            found = _keys(json.loads(Path(auth.jwks_file).read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise Undecided(f"auth.jwks_file: {auth.jwks_file} cannot be read: {error}.") from error
        if not found:
            raise Undecided(f"auth.jwks_file: {auth.jwks_file} is no JWK Set with a key.")
        return found
    for path in (auth.jwks_path,) if auth.jwks_path else _PATHS:
        if found := _keys(service.client.get(path).json()):
            return found
    return []


def _keys(document: Any) -> list[Mapping[str, Any]]:
    keys = document.get("keys") if isinstance(document, dict) else None
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def secrets_of(key: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the forms of a key: PEM with and without the last line feed, and DER; for Ed25519 also raw."""
    try:
        der = _der(key)
    except (KeyError, ValueError, TypeError):
        return
    if der is None:
        return
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    pem = "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----"]).encode()
    yield "PEM", pem + b"\n"
    yield "PEM without the last line feed", pem
    yield "DER", der
    if key.get("crv") == "Ed25519":
        yield "raw", _bytes(key["x"])


def _der(key: Mapping[str, Any]) -> bytes | None:
    if key.get("kty") == "RSA":
        numbers = _tagged(0x30, _integer(_bytes(key["n"])) + _integer(_bytes(key["e"])))
        return _tagged(0x30, _RSA + _tagged(0x03, b"\x00" + numbers))
    prefix = _CURVES.get(str(key.get("crv")))
    if prefix is None:
        return None
    return prefix + _bytes(key["x"]) + (_bytes(key["y"]) if "y" in key else b"")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _integer(value: bytes) -> bytes:
    # A leading zero keeps the number positive.
    return _tagged(0x02, b"\x00" + value if value[0] & 0x80 else value)


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content
