"""Entity tags of orders: the version's number, quoted (RFC 9110, 8.8.3)."""

import re
from dataclasses import dataclass
from typing import Self

from litestar.exceptions import ClientException

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_EACH = re.compile(r'(W/)?"([^"]*)"')
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class PreconditionRequiredException(ClientException):
    """The caller must say which version is to be changed (RFC 6585, 3)."""

    status_code = 428


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that an `If-Match` names."""

    numbers: frozenset[int]
    is_any: bool = False
    """`*`: whichever it is."""

    @classmethod
    def parse(cls, if_match: str | None) -> Self:
        """Read an `If-Match` header. Weak tags never match (RFC 9110, 13.1.1), nor do tags that are not ours.

        Raises:
            PreconditionRequiredException: There is none.
            ClientException: It is not a list of entity tags.
        """
        if if_match is None:
            raise PreconditionRequiredException(
                "Send `If-Match` with the `ETag` of the order as you read it."
            )
        if if_match.strip() == "*":
            return cls(frozenset(), is_any=True)
        if not _LIST.fullmatch(if_match):
            raise ClientException("`If-Match` must be `*` or a list of quoted entity tags.")
        tags = _EACH.findall(if_match)
        return cls(frozenset(int(tag) for weak, tag in tags if not weak and _NUMBER.fullmatch(tag)))


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'
