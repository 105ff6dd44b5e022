"""Litestar's answer to exceptions, apart from what it costs the requests that raise none."""

from copy import copy
from typing import Any, Final

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send

from ._failure import EXCEPTION_KEY

_ANSWERS: Final = "ExceptionHandlerMiddleware"
"""Its class, which Litestar keeps to itself."""


def parted(app: Litestar) -> tuple[ASGIApp, ASGIApp | None]:
    """What serves a request, and what answers it when that raised, with the exception in the scope's state.

    Litestar has both in one, which looks at each message in a coroutine of its own for whether the answer
    has begun; a layer around it knows that already.

    Args:
        app: The application. None answers where something else stands around it, which has what it raises.
    """
    handler: Any = app.asgi_handler
    if type(handler).__name__ != _ANSWERS or handler.app is not app.asgi_router:
        return handler, None
    answering = copy(handler)
    answering.app = _raised
    return handler.app, answering


async def _raised(scope: Scope, _receive: Receive, _send: Send) -> None:
    error: Exception = scope["state"][EXCEPTION_KEY]
    raise error
