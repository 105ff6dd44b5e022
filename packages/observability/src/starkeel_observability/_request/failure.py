"""Failures of requests that are the service's fault."""

from typing import Any

from litestar.exceptions import HTTPException, LitestarException, WebSocketException
from starkeel_asgi import Exchange


class Failure:
    """A failure of a request."""

    def __init__(self, exchange: Exchange, raised: BaseException | None, status: int) -> None:
        state: dict[str, Any] = exchange.scope.get("state") or {}
        self.exception = _innermost(raised or exchange.error)
        known = state.get("error_type")
        self._is_logged = isinstance(known, str)
        self.error_type: str = known if isinstance(known, str) else _type_name(self.exception) or str(status)

    @property
    def is_unexpected(self) -> bool:
        """Whether to log a stack trace: the exception is unexpected and has not been logged."""
        return not self._is_logged and _is_unexpected(self.exception)


def failure_of(exchange: Exchange, raised: BaseException | None, status: int) -> Failure | None:
    """Return the failure of a request; `None` if it succeeded or the client is at fault."""
    if raised is None and status < 500 and status != 101:
        return None
    failure = Failure(exchange, raised, status)
    # A cancelled request has failed if its response was incomplete.
    is_failure = (
        status >= 500
        or isinstance(raised, Exception)
        or (raised is not None and 200 <= status < 300)
        or (status == 101 and _is_unexpected(failure.exception))
    )
    return failure if is_failure else None


def _innermost(exception: BaseException | None) -> BaseException | None:
    """Return the exception that Litestar or a task group wrapped."""
    if type(exception) is LitestarException and exception.__cause__ is not None:
        return _innermost(exception.__cause__)
    if isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) == 1:
        return _innermost(exception.exceptions[0])
    return exception


def _is_unexpected(exception: BaseException | None) -> bool:
    return isinstance(exception, Exception) and not isinstance(exception, (HTTPException, WebSocketException))


def _type_name(exception: BaseException | None) -> str | None:
    if exception is None:
        return None
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
