"""What an email address is here, and when two of them are the same."""

import re
from dataclasses import dataclass
from typing import Self

MAX_LENGTH = 254
"""Longest address that SMTP can carry (RFC 5321, 4.5.3.1.3, less the angle brackets)."""

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MAX_LOCAL = 64
_MAX_LABEL = 63


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address as its owner wrote it, and the key under which it is unique."""

    written: str
    """As given, without surrounding blanks, its domain in lower case and ASCII."""

    key: str
    """Equal for addresses that differ in letter case only; what the database holds unique."""

    @property
    def local_part(self) -> str:
        """What stands before the last `@`."""
        return self.written.rpartition("@")[0]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as a person types it.

        The local part is a dot-atom (RFC 5322): quoted local parts and comments exist on paper only.
        A domain has a dot, so that `me@localhost` is a typing error and not an account.

        Raises:
            ValueError: It is no address; the message says why, and repeats nothing of it.
        """
        local, at, domain = text.strip().rpartition("@")
        if not at or not local:
            raise ValueError("is not an email address: expected `name@domain`")
        if len(local) > _MAX_LOCAL:
            raise ValueError(f"has more than {_MAX_LOCAL} characters before the `@`")
        if not _LOCAL.fullmatch(local):
            raise ValueError("holds a character that is not allowed before the `@`")
        written = f"{local}@{_ascii_domain(domain)}"
        if len(written) > MAX_LENGTH:
            raise ValueError(f"is longer than {MAX_LENGTH} characters")
        return cls(written=written, key=written.lower())


def _ascii_domain(domain: str) -> str:
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError("has a domain that cannot exist") from None
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(len(label) <= _MAX_LABEL and _LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a domain that cannot exist")
    return ascii_domain
