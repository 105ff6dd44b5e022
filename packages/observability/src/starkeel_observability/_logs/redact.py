"""What must not be read in a log: secrets by their field's name, personal data wherever it stands."""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET: Final = frozenset(
    [
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "csrf",
        "cvc",
        "cvv",
        "jwt",
        "otp",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "pin",
        "pwd",
        "secret",
        "secrets",
        "sig",
        "signature",
        "ssn",
        "token",
        "tokens",
        "totp",
    ]
)
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
_ABOUT: Final = frozenset(
    [
        "age",
        "algorithm",
        "count",
        "enabled",
        "expires",
        "expiry",
        "length",
        "method",
        "name",
        "scheme",
        "ttl",
        "type",
    ]
)
"""Last words of names that tell something about a secret, not the secret: `token_type`."""
_EMAIL: Final = frozenset({"email", "emails", "mail"})

_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
_SCHEME = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*")
# Begun at the start of a word only, and never taken back: linear, whatever the text.
_ADDRESS = re.compile(
    r"(?<![\w.!#$+^`{|}~-])([\w.!#$+^`{|}~-])[\w.!#$+^`{|}~-]*+(@|%40)(?=[\w\[])", re.IGNORECASE
)
# A name before its value, as in a query (`?token=x`), a data source's name (`password=x`), JSON, or a
# repr, of pairs too.
# Bounded, and never taken back: linear as well.
_NAMED = re.compile(
    r"""(?<![\w%.-])([A-Za-z_%][\w.%-]{1,63}+)(?:=|['"]\s{0,4}(?::\s{0,4}|,\s{0,4}(?=b?['"])))"""
)
_VALUE = re.compile(r"""b?"(?:[^"\\]|\\.)*+"?|b?'(?:[^'\\]|\\.)*+'?|[^\s&;,()\[\]{}"'<>]++""", re.DOTALL)
_LONGEST_KNOWN: Final = 4096


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a field of that name holds what nobody may read, judged by the words of the name."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    return not _SECRET.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


@lru_cache(maxsize=4096)
def is_email(name: str) -> bool:
    """Whether a field of that name holds an email address."""
    return not _EMAIL.isdisjoint(word.lower() for word in _WORDS.findall(name))


def mask_email(text: str) -> str:
    """What remains of a text that is meant to be an email address, well-formed or not."""
    local, at, domain = text.rpartition("@")
    if not at:
        return f"{text[:1]}{HIDDEN}"
    return f"{local[:1]}{HIDDEN}@{domain}"


def mask(text: str) -> str:
    """A text without the email addresses, credentials in URLs, bearer tokens and named secrets in it."""
    # Looked for before it is searched for: nearly no text has any of these.
    if "@" in text or "%40" in text:
        if "://" in text:
            text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
        text = _ADDRESS.sub(rf"\1{HIDDEN}\2", text)
    if "eyJ" in text:
        text = _JWT.sub(HIDDEN, text)
    if "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text:
        text = _SCHEME.sub(rf"\1\2{HIDDEN}", text)
    if "=" in text or "'" in text or '"' in text:
        text = _unnamed_before(text) if len(text) <= _LONGEST_KNOWN else _unnamed(text)
    return text


def _unnamed(text: str) -> str:
    """A text without the values whose names say that they are secret."""
    parts, at = [], 0
    for named in _NAMED.finditer(text):
        if named.start() < at or not is_secret(unquote(named[1])):
            continue
        value = _VALUE.match(text, named.end())
        if value is not None:
            parts += [text[at : named.end()], HIDDEN]
            at = value.end()
    return "".join([*parts, text[at:]]) if parts else text


# Most texts with a name in them are SQL, the same few again and again.
_unnamed_before: Final = lru_cache(maxsize=512)(_unnamed)
