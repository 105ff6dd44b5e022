"""Entity tags of crates: the version number, quoted (RFC 9110, 8.8.3)."""

import re

from litestar.exceptions import ClientException
from starkeel_http import EntityTags

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def parse_if_match(if_match: str | None) -> frozenset[int] | None:
    """Return the versions in an `If-Match` header, or `None` for `*`, which matches any version.

    Tags of another format match no version.

    Raises:
        ClientException: 428 (RFC 6585, 3), the header is missing; 400, it is not a list of entity tags.
    """
    if if_match is None:
        raise ClientException("Send `If-Match` with the current `ETag`.", status_code=428)
    values = EntityTags.parse(if_match).values
    return None if values is None else frozenset(int(value) for value in values if _NUMBER.fullmatch(value))
