"""The request class of an application with an edge."""

from typing import Any, Final

from litestar import Request
from litestar.types.empty import Empty

from ._body import BodyReader

READER: Final = "starkeel_http.body_reader"
"""Where in a handler's `opt` its reader stands."""


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is read as the type its handler declares, and to the letter."""

    __slots__ = ()

    async def json(self) -> Any:
        """Return the body.

        Raises:
            ValidationException: It is JSON, but not as described.
            ClientException: It is no JSON that can be read.
        """
        if self._json is Empty:
            body = await self.body()
            self._json = self._reader().read(body) if body else None
        return self._json

    def _reader(self) -> BodyReader:
        reader = self.route_handler.opt.get(READER)
        return reader if isinstance(reader, BodyReader) else BodyReader(self.route_handler)


def strict(base: type[Request[Any, Any, Any]] | None) -> type[Request[Any, Any, Any]]:
    """Return a request class that reads strictly and is otherwise an application's own."""
    if base is None or base is Request:
        return StrictRequest
    return type(base.__name__, (StrictRequest, base), {"__slots__": ()})
