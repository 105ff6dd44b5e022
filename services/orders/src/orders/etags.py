"""Entity tags of orders: the version number, quoted (RFC 9110, 8.8.3)."""

import re

from litestar.exceptions import ClientException

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
IF_MATCH_PATTERN = rf"^(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)$"
"""Pattern of the header in the OpenAPI document."""
_LIST = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_EACH = re.compile(r'(W/)?"([^"]*)"')
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def parse_if_match(if_match: str | None) -> frozenset[int] | None:
    """Return the versions in an `If-Match` header, or `None` for `*`, which matches any version.

    Weak tags (RFC 9110, 13.1.1) and tags of another format match no version.

    Raises:
        ClientException: 428 (RFC 6585, 3), the header is missing; 400, it is not a list of entity tags.
    """
    if if_match is None:
        raise ClientException("Send `If-Match` with the `ETag` of the order.", status_code=428)
    if if_match.strip() == "*":
        return None
    if not _LIST.fullmatch(if_match):
        raise ClientException("`If-Match` must be `*` or a list of quoted entity tags.")
    tags = _EACH.findall(if_match)
    return frozenset(int(tag) for weak, tag in tags if not weak and _NUMBER.fullmatch(tag))
