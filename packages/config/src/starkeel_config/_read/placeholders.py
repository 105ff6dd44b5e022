"""Detection of placeholder secrets left over from templates and examples."""

import re

from .._show.secret import Secret

_WORDS = frozenset([
    "admin", "changeit", "changeme", "changethis", "default", "dummy", "example", "fixme", "insecure",
    "letmein", "none", "null", "pass", "passwd", "password", "placeholder", "replaceme", "secret",
    "secretkey", "supersecret", "tbd", "todo", "topsecret", "undefined",
])  # fmt: skip
# <a secret>, ${UNSET}, {{ value }}, %VALUE%, your-secret, a single repeated character.
_TEMPLATES = re.compile(
    r"<[^<>]*>|\$\{?\w+\}?|\{\{.*\}\}|%\w+%|(?:your|my|insert|replace|enter|change|example)[ _-].*|(.)\1{2,}",
    re.DOTALL,
)
# Private keys of RFC 8410 (10.3) and RFC 8032 (7.1; RFC 8037, A.1), example secrets of jwt.io and AWS.
_EXAMPLES = (
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "a-string-secret-at-least-256-bits-long",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:([^/?#]*)@)?([^/?#]*)[^?#]*(?:\?([^#]*))?", re.DOTALL)
_LOCAL = ("", "localhost", "127.0.0.1", "[::1]")
ACCEPTED = "a secret of your own; placeholders are accepted in development only"


def placeholder(secret: Secret) -> str | None:
    """Return why a secret is a placeholder, without its text; None when it is not."""
    text = secret.reveal().strip()
    if _is_placeholder(text):
        return "is a placeholder"
    url = _URL.fullmatch(text)
    if url is None:
        return None
    password = _password(url)
    if password == "":
        # Local connections are often authenticated by the socket's owner, without a password.
        is_local = not {url[2], url[2].rpartition(":")[0]}.isdisjoint(_LOCAL)
        return None if is_local else "contains an empty password"
    return "contains a placeholder as its password" if password and _is_placeholder(password) else None


def _password(url: re.Match[str]) -> str | None:
    from urllib.parse import parse_qs, unquote

    _, colon, password = (url[1] or "").partition(":")
    if password:
        return unquote(password)
    return next(iter(parse_qs(str(url[3] or "")).get("password", [])), "" if colon else None)


def _is_placeholder(text: str) -> bool:
    word = re.sub(r"[^a-z0-9]", "", text.lower())
    if word in _WORDS or _TEMPLATES.fullmatch(text.lower()):
        return True
    unbroken = "".join(text.split())
    return any(example in unbroken for example in _EXAMPLES)
