"""Password rules, and hashing outside the event loop."""

import os
import unicodedata
from functools import cache
from importlib.resources import files

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 8
MAX_LENGTH = 128

_MEMORY_KIB = 19 * 1024
_PASSES = 2
_MAX_CONCURRENT = 4
DUMMY_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$wF5hhsPNdy+P9nt34Q5Wgw$WYPCmyXSxXTvxV71AJDXg9yIxeIUHFOu+ik6JVT5jCY"
)
"""Hash of a discarded random password, verified for unknown email addresses so that they take as long as
known ones. A constant, because computing it would slow down every start."""


class WeakPasswordError(ValueError):
    """The password violates a rule; the message names the rule and does not contain the password."""


def validate_password(password: str, email: str) -> str:
    """Return the normalised password of the user with an email address.

    Raises:
        WeakPasswordError: The password is too short, too long, common, or the part of the address before `@`.
    """
    normalised = _normalise(password)
    if not MIN_LENGTH <= len(normalised) <= MAX_LENGTH:
        raise WeakPasswordError(f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    folded = normalised.casefold()
    if folded in common_passwords() or len(set(folded)) == 1:
        raise WeakPasswordError("is too common")
    if folded == email.rpartition("@")[0].casefold():
        raise WeakPasswordError("must not equal the name in the email address")
    return normalised


@cache
def common_passwords() -> frozenset[str]:
    """Return the most common passwords of at least the minimum length, case-folded."""
    text = files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


class PasswordHashing:
    """Hashes and verifies passwords with argon2id in worker threads.

    Parameters are those of the OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
    A process computes at most four hashes at once, which limits the memory to 76 MiB; further requests wait
    without blocking the event loop, and a cancelled request stops waiting.
    """

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._limiter = CapacityLimiter(min(_MAX_CONCURRENT, os.cpu_count() or 1))

    async def hash(self, password: str) -> str:
        """Return the encoded hash, including parameters and salt."""
        return await to_thread.run_sync(self._argon2.hash, _normalise(password), limiter=self._limiter)

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Return whether a password is valid, after the same time whether or not there is a hash.

        Args:
            password: As received.
            encoded: The user's hash, or `None` for an unknown user, which is never valid.
        """
        is_valid = await to_thread.run_sync(
            self._verify, _normalise(password), encoded or DUMMY_HASH, limiter=self._limiter
        )
        return is_valid and encoded is not None

    def needs_rehash(self, encoded: str) -> bool:
        """Return whether a hash was made with other parameters than the current ones."""
        return self._argon2.check_needs_rehash(encoded)

    def _verify(self, password: str, encoded: str) -> bool:
        try:
            return self._argon2.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False


def _normalise(password: str) -> str:
    # NFKC, as SP 800-63B recommends: keyboards compose the same characters differently.
    return unicodedata.normalize("NFKC", password)
