"""Redaction of secrets, by the name of their field, and of personal data in any text."""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_is_secret_word: Final = re.compile(
    "apikey|auth|authorization|bearer|cookies?|credentials?|csrf|cvc|cvv|jwt|otp|passcode|passphrase|passwd|"
    "passwords?|pin|pwd|secrets?|sig|signature|ssn|tokens?|totp"
).fullmatch
_SECRET_PAIRS: Final = frozenset(
    {
        ("access", "key"),
        ("api", "key"),
        ("card", "number"),
        ("encryption", "key"),
        ("private", "key"),
        ("session", "id"),
        ("session", "key"),
        ("signing", "key"),
    }
)
_is_metadata_word: Final = re.compile(
    "age|algorithm|count|enabled|expires|expiry|length|method|name|scheme|ttl|type"
).fullmatch
"""Last words of names that describe a secret without containing it, such as `token_type`."""
_EMAIL: Final = frozenset({"email", "emails", "mail"})

_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
_SCHEME = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*")
# Starts at a word boundary and does not backtrack: linear in the length of any text.
_ADDRESS = re.compile(
    r"(?<![\w.!#$+^`{|}~-])([\w.!#$+^`{|}~-])[\w.!#$+^`{|}~-]*+(@|%40)(?=[\w\[])", re.IGNORECASE
)
# A name followed by its value, as in a query (`?token=x`), a data source name (`password=x`), JSON, or the
# repr of a mapping or of pairs. Bounded and without backtracking: linear as well.
_NAMED = re.compile(
    r"""(?<![\w%.-])([A-Za-z_%][\w.%-]{1,63}+)(?:=|['"]\s{0,4}(?::\s{0,4}|,\s{0,4}(?=b?['"])))"""
)
_VALUE = re.compile(r"""b?"(?:[^"\\]|\\.)*+"?|b?'(?:[^'\\]|\\.)*+'?|[^\s&;,()\[\]{}"'<>]++""", re.DOTALL)
_MAX_CACHED: Final = 4096


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Return whether a field contains a secret, judging by the words of its name."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _is_metadata_word(words[-1]):
        return False
    return any(map(_is_secret_word, words)) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


@lru_cache(maxsize=4096)
def is_email(name: str) -> bool:
    """Return whether a field contains an email address, judging by the words of its name."""
    return not _EMAIL.isdisjoint(word.lower() for word in _WORDS.findall(name))


def mask_email(text: str) -> str:
    """Mask the local part of an email address, well-formed or not."""
    local, at, domain = text.rpartition("@")
    if not at:
        return f"{text[:1]}{HIDDEN}"
    return f"{local[:1]}{HIDDEN}@{domain}"


def mask(text: str) -> str:
    """Mask email addresses, credentials in URLs, bearer tokens and named secrets in a text."""
    # Substring tests first: almost no text contains any of these.
    if "@" in text or "%40" in text:
        if "://" in text:
            text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
        text = _ADDRESS.sub(rf"\1{HIDDEN}\2", text)
    if "eyJ" in text:
        text = _JWT.sub(HIDDEN, text)
    if "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text:
        text = _SCHEME.sub(rf"\1\2{HIDDEN}", text)
    if "=" in text or "'" in text or '"' in text:
        text = _mask_named_cached(text) if len(text) <= _MAX_CACHED else _mask_named(text)
    return text


def _mask_named(text: str) -> str:
    """Mask values whose name marks them as secret."""
    parts, at = [], 0
    for named in _NAMED.finditer(text):
        if named.start() < at or not is_secret(unquote(named[1])):
            continue
        value = _VALUE.match(text, named.end())
        if value is not None:
            parts += [text[at : named.end()], HIDDEN]
            at = value.end()
    return "".join([*parts, text[at:]]) if parts else text


# Most texts with names are SQL, and few of them are distinct.
_mask_named_cached: Final = lru_cache(maxsize=512)(_mask_named)
