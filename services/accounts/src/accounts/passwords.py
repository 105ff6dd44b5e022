"""Password rules, and hashing outside the event loop."""

import os
import re
import unicodedata
from collections.abc import Iterable
from typing import final

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from .common_passwords import CommonPasswords

MIN_LENGTH = 8
MAX_LENGTH = 128

_SEPARATORS = re.compile(r"[^\w]|_")
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_MIN_WORD_LENGTH = 3
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


@final
class PasswordPolicy:
    """Rules for new passwords, those of NIST SP 800-63B, 5.1.1.2: length and a list of rejected passwords.

    There are no rules for kinds of characters. A password is compared as a whole, in compatibility
    normalisation (NFKC) and without regard to letter case.

    Args:
        names: Names of the service, such as the host of its URL; rejected like parts of the email address.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._words = frozenset(word for name in names for word in _words(name))

    def validate(self, password: str, email: str) -> str:
        """Return the normalised password of the user with an email address.

        Raises:
            WeakPasswordError: The password is too short, too long, common, or part of the email address or
                a name of the service, also with digits or punctuation around it.
        """
        normalised = _normalise(password)
        if not MIN_LENGTH <= len(normalised) <= MAX_LENGTH:
            raise WeakPasswordError(f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
        compared = folded(password)
        if compared in CommonPasswords.load() or len(set(compared)) == 1:
            raise WeakPasswordError("is too common")
        own = _words(email)
        if compared in own or _core(compared) in own:
            raise WeakPasswordError("must not be the email address or a part of it")
        if compared in self._words or _core(compared) in self._words:
            raise WeakPasswordError("must not be a name of this service")
        return normalised


def folded(password: str) -> str:
    """Return the form in which a password is compared with rejected ones."""
    return _normalise(password).casefold()


def _words(name: str) -> frozenset[str]:
    """Return a name or an email address, its parts on both sides of `@`, and their words, case-folded.

    Initials are left out: many a random password has a letter or two among its digits and punctuation.
    """
    whole = name.casefold()
    halves = whole.split("@")
    return frozenset(
        word
        for text in (whole, *halves, *_SEPARATORS.split(whole))
        for word in (text, _core(text))
        if len(word) >= _MIN_WORD_LENGTH
    )


def _core(text: str) -> str:
    """Return a text without the digits and punctuation around it."""
    return _AROUND.sub("", text)


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
