"""Set of common passwords, stored compactly as truncated hashes."""

from array import array
from collections import Counter
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import accumulate
from typing import Self

_BUCKETS = 1 << 16
_MAX_IN_BUCKET = 255


class CommonPasswords:
    """A set of passwords of which each takes about two bytes.

    A member is the first 32 bits of a SHA-256 hash. Its first half selects a bucket, whose size is stored in
    one byte; the buckets hold the second halves. Of other passwords, a share of the number of members divided
    by 2**32 is reported as a member: one of 22,000 with 200,000 members.

    Args:
        data: Result of `build`.
    """

    def __init__(self, data: bytes) -> None:
        self._ends = array("I", accumulate(data[:_BUCKETS]))
        self._halves = data[_BUCKETS:]

    @classmethod
    @cache
    def load(cls) -> Self:
        """Return the set that is part of this package; it is read once."""
        return cls(files(__package__).joinpath("common_passwords.bin").read_bytes())

    @staticmethod
    def build(passwords: Iterable[str]) -> bytes:
        """Return the data of a set.

        Raises:
            ValueError: A bucket is full; there are millions of passwords.
        """
        keys = sorted({_key(password) for password in passwords})
        sizes = Counter(bucket for bucket, _ in keys)
        if max(sizes.values(), default=0) > _MAX_IN_BUCKET:
            raise ValueError("there are too many passwords for this format")
        return bytes(sizes[bucket] for bucket in range(_BUCKETS)) + b"".join(half for _, half in keys)

    def __contains__(self, password: str) -> bool:
        bucket, half = _key(password)
        start = self._ends[bucket - 1] if bucket else 0
        halves = self._halves[2 * start : 2 * self._ends[bucket]]
        return any(halves[at : at + 2] == half for at in range(0, len(halves), 2))

    def __len__(self) -> int:
        return len(self._halves) // 2


def _key(password: str) -> tuple[int, bytes]:
    digest = sha256(password.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:2], "big"), digest[2:4]
