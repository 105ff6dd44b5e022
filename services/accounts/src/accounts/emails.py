"""Validation and comparison of email addresses."""

import re
from dataclasses import dataclass
from typing import Self

MAX_LENGTH = 254
"""Maximum length of an address in SMTP (RFC 5321, 4.5.3.1.3, without the angle brackets)."""

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_LOCAL = 64


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An email address.

    Attributes:
        written: The address without surrounding whitespace, its domain in lower-case ASCII.
        key: The same in lower case; unique in the database.
    """

    written: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address typed by a user.

        The local part must be a dot-atom (RFC 5322); quoted local parts and comments are not in use.
        The domain must contain a dot: `me@localhost` is a typing error.

        Raises:
            ValueError: It is not an address; the message gives the reason and does not contain the text.
        """
        local, at, domain = text.strip().rpartition("@")
        if not at or not local:
            raise ValueError("is not an email address: expected `name@domain`")
        if len(local) > _MAX_LOCAL:
            raise ValueError(f"has more than {_MAX_LOCAL} characters before the `@`")
        if not _LOCAL.fullmatch(local):
            raise ValueError("contains a character that is not allowed before the `@`")
        written = f"{local}@{_ascii_domain(domain)}"
        if len(written) > MAX_LENGTH:
            raise ValueError(f"is longer than {MAX_LENGTH} characters")
        return cls(written=written, key=written.lower())


def _ascii_domain(domain: str) -> str:
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError("has an invalid domain") from None
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("has an invalid domain")
    return ascii_domain
