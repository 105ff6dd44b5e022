"""Limits of a request's target and header fields: 414 (RFC 9110, 15.5.15) and 431 (RFC 6585, 5)."""

from typing import Any, Final

from litestar.exceptions import HTTPException

_joined: Final = b"".join


class RequestLimits:
    """Limits below those of the server, whose refusals are in no log, metric or span.

    Args:
        url_bytes: Maximum size of path and query.
        headers: Maximum number of header fields.
        header_bytes: Maximum size of their names and values.
    """

    __slots__ = ("_header_bytes", "_headers", "_url_bytes")

    def __init__(self, *, url_bytes: int, headers: int, header_bytes: int) -> None:
        self._url_bytes = url_bytes
        self._headers = headers
        self._header_bytes = header_bytes

    def is_exceeded(self, exchange: Any) -> bool:
        """Return whether a request exceeds a limit."""
        headers, scope = exchange.headers, exchange.scope
        # In C: a sum over the fields would cost more than everything else that the edge does here.
        return (
            len(_joined([*headers, *headers.values()])) > self._header_bytes
            or len(exchange.facts[2]) > self._headers
            or len(scope["query_string"]) + len(scope.get("raw_path") or b"") > self._url_bytes
        )

    async def refuse(self, exchange: Any) -> bool:
        """Refuse a request that exceeds a limit; an exchange's `intercept`.

        Raises:
            HTTPException: 414 or 431.
        """
        scope = exchange.scope
        if len(scope["query_string"]) + len(scope.get("raw_path") or b"") > self._url_bytes:
            detail = f"The path and the query must have at most {self._url_bytes} bytes."
            raise HTTPException(detail, status_code=414)
        limits = f"at most {self._headers} header fields with {self._header_bytes} bytes in all"
        raise HTTPException(f"A request must have {limits}.", status_code=431)
