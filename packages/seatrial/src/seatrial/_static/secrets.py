"""Detection of secrets in names and values of configuration. Values never become a part of a message."""

import re
from typing import Final

_NAME: Final = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|(?<=_)pwd|pass|secret|token|credentials?|secret_?key_base"
    r"|(?:api|private|access|secret|encryption|signing|master|account)_?key)"
    r"(?:_?\d+|_value|_base64|_b64|_previous|_old)?$"
)
_PASSWORD: Final = re.compile(r"passw|passphrase|pwd|pass$")
_CAMEL_CASE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
# What is not a literal: paths, references to variables and secrets, booleans, placeholders.
_REFERENCE: Final = re.compile(
    r"^(?:|true|false|null|none|yes|no|on|off|[./~][^\s]*|file:.*|\$.*|<.*>|\{\{.*\}\}|\*+|x{3,}|redacted)$",
    re.IGNORECASE,
)
_VALUES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("an access key of AWS", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a token of GitHub", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})")),
    ("a token of GitLab", re.compile(r"\bglpat-[\w-]{20,}")),
    ("a token of Slack", re.compile(r"\bxox[abeprs]-[\w-]{10,}")),
    ("a key of Stripe", re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16,}")),
    ("a key of Google", re.compile(r"\bAIza[\w-]{35}\b")),
    ("a token of npm", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a token of PyPI", re.compile(r"\bpypi-[\w-]{50,}")),
    ("a JSON Web Token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")),
    ("a bearer token", re.compile(r"(?i)\bauthorization:\s*(?:bearer|basic)\s+(?![$<])[\w.+/=-]{8,}")),
)
_USER_INFO: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@?#]*:(?P<password>[^@\s/]+)@", re.IGNORECASE)
_ASSIGNMENT: Final = re.compile(
    r"(?:^|[\s'\"(;&|])-{0,2}(?P<name>[A-Za-z_][\w.-]*)[=](?P<value>\"[^\"]*\"|'[^']*'|[^\s'\"]*)"
)
_OPTION: Final = re.compile(r"(?:^|\s)--(?P<name>[a-z][a-z-]*)\s+(?P<value>[^\s'\"-][^\s'\"]*)")


def is_secret_name(name: str) -> bool:
    """Return whether the name of a variable or key is that of a secret: `DB_PASSWORD`, `api-token`."""
    return _NAME.search(_SEPARATORS.sub("_", _CAMEL_CASE.sub("_", name).lower())) is not None


def secret_value(value: str) -> str | None:
    """Return what kind of secret a value contains, by its form alone, or `None`."""
    for kind, pattern in _VALUES:
        if pattern.search(value):
            return kind
    for match in _USER_INFO.finditer(value):
        if not _REFERENCE.match(match["password"]):
            return "a URL with a password"
    return None


def secret_setting(name: str, value: str) -> str | None:
    """Return what kind of secret a variable contains, by its name or value, or `None`."""
    if (kind := secret_value(value)) is not None:
        return kind
    value = value.strip().strip("'\"")
    if not is_secret_name(name) or _REFERENCE.match(value):
        return None
    # `ACCESS_TOKEN=3600` is a number of seconds, and `PASSWORD=123456` is a password.
    if value.isdigit() and not _PASSWORD.search(name.lower()):
        return None
    return "a secret, by its name"


def secrets_in_command(command: str) -> list[tuple[str, str]]:
    """Return the names and kinds of the secrets in a command line or a step of a build."""
    found = [
        (match["name"], kind)
        for pattern in (_ASSIGNMENT, _OPTION)
        for match in pattern.finditer(command)
        if (kind := secret_setting(match["name"].lstrip("-"), match["value"])) is not None
    ]
    kind = secret_value(command)
    return found or ([] if kind is None else [("the command", kind)])
