"""Search for what a service must not reveal: in its responses, output, metrics and spans."""

import json
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

CHECKED: Final[set[str]] = set()
"""Names of the services that are checked; the ini option `starkeel_leak_check`."""

SENT: Final[set[str]] = set()
"""Secrets that this process has sent to a checked service, or received from one."""

_SECRET_HEADERS: Final = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_SECRET_FIELDS: Final = re.compile("password|secret|token$", re.IGNORECASE)
_NOT_SECRET: Final = frozenset({"token_type"})
# Shorter texts, or those of few characters, occur in other places by chance.
_MIN_LENGTH: Final = 12
_MIN_DISTINCT: Final = 8

_WORD: Final = re.compile(rf"[\w-]{{{_MIN_LENGTH},}}")
_SQL: Final = re.compile(
    r"\b(?:SELECT\s[^\"]{1,200}\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s)"
)
_LIBRARY: Final = re.compile(
    r"\b(?:litestar|granian|uvicorn|sqlalchemy|asyncpg|aiosqlite|sqlite3?|psycopg|msgspec|structlog|httpx2?"
    r"|pydantic|pyjwt|argon2|cryptography|(?:c?python|postgresql|redis)/[0-9])\b",
    re.IGNORECASE,
)
_FOR_OPERATORS: Final = re.compile(r'"level": ?"debug"|"exception": ?|"stack": ?|^[^{]', re.IGNORECASE)
_NO_SERVER: Final = "-"
# The OpenAPI document and its page.
_DOCUMENTATION: Final = "/schema"


def machine_paths() -> tuple[str, ...]:
    """Return the folders of this machine that a text may reveal: installed packages, and this checkout."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), sys.prefix}
    here = Path(__file__).resolve()
    root = next((each for each in here.parents if (each / "uv.lock").exists()), here.parent)
    return tuple(sorted({*folders, str(root)}, key=len))


_PATHS: Final = machine_paths()


class LeakCheck:
    """Search of all that one service sends and writes.

    Args:
        name: Name of the service, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._secrets: set[str] = set()
        self._found: dict[str, None] = {}

    def exchange(self, request: httpx2.Request, response: httpx2.Response, *, is_complete: bool) -> None:
        """Collect the secrets of a request, and check its response.

        Args:
            request: A request of a test.
            response: The response to it.
            is_complete: Whether the body of the response has been read.
        """
        sent = set(_secrets_of(request.headers, _content(request)))
        self._secrets |= sent
        SENT.update(sent)
        where = f"the response to {request.method} {request.url.path}"
        text = str(response.headers)
        if is_complete:
            received = set(_secrets_of(response.headers, response.content))
            self._secrets |= received
            SENT.update(received)
            if not request.url.path.startswith(_DOCUMENTATION):
                text += response.text
        if (server := response.headers.get("server", _NO_SERVER)) != _NO_SERVER:
            self._note(where, f"the header `Server: {server}`")
        # A service may show a client what that client has sent about itself.
        text = text.replace(request.headers.get("user-agent", "-"), "")
        for leak in (*leaks(text, sent), *_named_libraries(text)):
            self._note(where, leak)

    def metrics(self, text: str) -> None:
        """Check the metrics."""
        for leak in leaks(text, self._secrets):
            self._note("/metrics", leak)

    def output(self, text: str) -> None:
        """Check the output.

        Debug lines may hold statements, and stack traces the paths of modules: both are for operators.
        """
        lines = (line for line in text.splitlines() if _FOR_OPERATORS.search(line) is None)
        for leak in (*leaks(text, self._secrets, has_code=True), *leaks("\n".join(lines), set())):
            self._note("the output", leak)

    def raise_if_found(self) -> None:
        """Raise if anything was revealed.

        Raises:
            AssertionError: The message names the places, not the secrets.
        """
        found, self._found = self._found, {}
        assert not found, f"{self._name} revealed:\n" + "\n".join(found)

    def _note(self, place: str, leak: str) -> None:
        self._found[f"{leak} in {place}"] = None


def leaks(text: str, secrets: set[str], *, has_code: bool = False) -> Iterator[str]:
    """Yield what a text reveals of secrets, the machine and the database.

    Args:
        text: What a service has sent or written.
        secrets: What it must not contain.
        has_code: Whether the text may have statements with placeholders, and stack traces, like spans.
    """
    words = frozenset(_WORD.findall(text)) if secrets else frozenset()
    for secret in secrets:
        longest = max(_WORD.findall(secret), key=len, default="")
        # Searching each of a thousand secrets in the whole output would take seconds.
        if (not longest or longest in words) and secret in text:
            yield f"a secret of {len(secret)} characters"
    if has_code:
        return
    for path in _PATHS:
        if path in text:
            yield f"the path {path}"
            break
    if (sql := _SQL.search(text)) is not None:
        yield f"SQL ({sql[0][:40].strip()})"


def _named_libraries(text: str) -> Iterator[str]:
    if (library := _LIBRARY.search(text)) is not None:
        yield f"the library {library[0]}"


def _content(request: httpx2.Request) -> bytes:
    try:
        return request.content
    except httpx2.RequestNotRead:
        return b""


def _secrets_of(headers: Mapping[str, str], content: bytes) -> Iterator[str]:
    found = [headers[name].rpartition(" ")[2] for name in _SECRET_HEADERS if name in headers]
    if b"password" in content or b"token" in content or b"secret" in content:
        found += _secret_fields(content)
    for text in found:
        # The signature of a token: its other parts are no secret without it.
        secret = text.rpartition(".")[2] if text.count(".") == 2 else text
        if len(secret) >= _MIN_LENGTH and len(set(secret)) >= _MIN_DISTINCT:
            yield secret


def _secret_fields(content: bytes) -> Iterator[str]:
    try:
        body: Any = json.loads(content)
    except ValueError:
        return
    for name, value in body.items() if isinstance(body, dict) else ():
        if isinstance(value, str) and name not in _NOT_SECRET and _SECRET_FIELDS.search(name):
            yield value
