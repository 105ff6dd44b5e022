"""Which passwords are accepted, and how they are hashed without holding up anything else."""

import os
import unicodedata
from dataclasses import dataclass
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
NOBODYS_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$wF5hhsPNdy+P9nt34Q5Wgw$WYPCmyXSxXTvxV71AJDXg9yIxeIUHFOu+ik6JVT5jCY"
)
"""Verified in place of a missing user's hash, so that an unknown address costs the same work; of what, nobody
knows. Made here it would cost each start as much as a sign-in."""


class WeakPasswordError(ValueError):
    """The password is not accepted; the message says why, and repeats nothing of it."""


def normalise(password: str) -> str:
    """Give the same text for the same keys, whatever keyboard composed them (NFKC, as SP 800-63B asks)."""
    return unicodedata.normalize("NFKC", password)


def accept(password: str, *, email_local_part: str) -> str:
    """Return the normalised password, if it may be used.

    Args:
        password: As given.
        email_local_part: What stands before the `@` of its owner's address; nobody's secret.

    Raises:
        WeakPasswordError: Too short, too long, common, or the owner's own name.
    """
    normalised = normalise(password)
    if not MIN_LENGTH <= len(normalised) <= MAX_LENGTH:
        raise WeakPasswordError(f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    folded = normalised.casefold()
    if folded in common_passwords() or len(set(folded)) == 1:
        raise WeakPasswordError("is among the first that an attacker tries")
    if folded == email_local_part.casefold():
        raise WeakPasswordError("must not be the name in the email address")
    return normalised


@cache
def common_passwords() -> frozenset[str]:
    """The passwords that are guessed first, casefolded; shorter ones than accepted are not listed."""
    text = files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing a password with a hash."""

    is_right: bool
    needs_rehash: bool = False
    """The hash was made with other parameters than today's."""


class Passwords:
    """Hashes and verifies with argon2id, in threads, a few at a time.

    The cost is the Password Storage Cheat Sheet's (OWASP): 19 MiB, two passes, one lane.
    At most four hashes run at once in a process, so that a storm of sign-ins takes 76 MiB and not the
    container; the rest wait outside the event loop, and a request that is cancelled stops waiting.
    """

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._limiter = CapacityLimiter(min(_MAX_CONCURRENT, os.cpu_count() or 1))

    async def hash(self, password: str) -> str:
        """Return the encoded hash, with its parameters and its salt."""
        return await to_thread.run_sync(self._argon2.hash, normalise(password), limiter=self._limiter)

    async def verify(self, password: str, encoded: str | None) -> Verdict:
        """Compare, doing the same work whether there is a hash or not.

        Args:
            password: As given.
            encoded: The user's hash; None when there is no such user, which is never right.
        """
        verdict = await to_thread.run_sync(
            self._verify, normalise(password), encoded or NOBODYS_HASH, limiter=self._limiter
        )
        return Verdict(is_right=False) if encoded is None else verdict

    def _verify(self, password: str, encoded: str) -> Verdict:
        try:
            self._argon2.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return Verdict(is_right=False)
        return Verdict(is_right=True, needs_rehash=self._argon2.check_needs_rehash(encoded))
