"""Undocumented names of Litestar that this package uses; `check` probes each of them."""

import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from itertools import chain
from typing import Annotated, Any, Final

from litestar import Litestar, post
from litestar.constants import RESERVED_KWARGS
from litestar.dto import AbstractDTO
from litestar.enums import ParamType, RequestEncodingType
from litestar.exceptions import HTTPException, ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import BodyKwarg, FromPath, JSONBody, ParameterKwarg, QueryParameter
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition
from msgspec import Meta


def parameters(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """Return the parameters of a handler's function by name."""
    return handler.parsed_fn_signature.parameters


def body_type(handler: HTTPRouteHandler) -> Any:
    """Return the annotation of a handler's `data`; `Any` without it, or with a DTO."""
    field = handler.parsed_data_field
    return Any if field is None or handler.resolve_data_dto() is not None else field.annotation


def body_media_type(handler: HTTPRouteHandler) -> str | None:
    """Return the media type of a handler's `data`; `None` without it."""
    field = handler.parsed_data_field
    if field is None:
        return None
    kwarg = field.kwarg_definition
    media_type = kwarg.media_type if isinstance(kwarg, BodyKwarg) else RequestEncodingType.JSON
    return str(getattr(media_type, "value", media_type))


def query_parameters(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """Return the query parameters of a route and its dependencies by their external names."""
    dependencies = handler.resolve_dependencies()
    signatures = [provider.parsed_fn_signature.parameters for provider in dependencies.values()]
    found: dict[str, FieldDefinition] = {}
    for name, field in chain(*(each.items() for each in (parameters(handler), *signatures))):
        kwarg = field.kwarg_definition
        if name in dependencies or name in RESERVED_KWARGS:
            continue
        if isinstance(kwarg, ParameterKwarg):
            if kwarg.param_type == ParamType.QUERY:
                found[kwarg.name or name] = field
        elif kwarg is None:
            found[name] = field
    return found


def body_annotation(handler: BaseRouteHandler) -> Any:
    """Return the annotation of a handler's `data`, also with a DTO; `Any` without it."""
    field = parameters(handler).get("data")
    return Any if field is None else field.annotation


def is_raised_by_dto(error: BaseException) -> bool:
    """Return whether a DTO's model refused the values of a body; Litestar does not convert its exception."""
    if not isinstance(error, ValueError) or isinstance(error, HTTPException):
        return False
    frames = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(code in _DTO_CODE for code in frames)


def set_max_body_bytes(handler: HTTPRouteHandler, limit: int) -> int | None:
    """Set the application's limit, which `AppConfig` does not pass on, and return the limit of a handler."""
    handler.app.request_max_body_size = limit
    return handler.resolve_request_max_body_size()


_DTO_CODE: Final = frozenset({AbstractDTO.decode_bytes.__code__, AbstractDTO.decode_builtins.__code__})


@cache
def check() -> None:
    """Probe the names above with a small application, once per process.

    Raises:
        ImproperlyConfiguredException: The installed release of Litestar changed one of them.
    """
    app = Litestar([_create_item], openapi_config=None, logging_config=None)
    [route] = app.routes
    assert isinstance(route, HTTPRoute)
    # Litestar adds a handler for OPTIONS.
    [handler] = [handler for handler in route.route_handlers if "POST" in handler.http_methods]
    for effect, probe in _PROBES.items():
        try:
            is_supported = probe(app, handler)
        except Exception:  # noqa: BLE001  (any failure means the same)
            is_supported = False
        if not is_supported:
            raise ImproperlyConfiguredException(
                f"starkeel-http {version('starkeel-http')} does not support Litestar {version('litestar')}:"
                f" {effect}. Install another release of one of them"
            )


_LIMIT: Final = 20_000_000


@post("/items/{item_id:int}")
async def _create_item(
    item_id: FromPath[int],
    size: Annotated[int, QueryParameter(name="Size"), Meta(ge=1)],
    data: JSONBody[list[int]],
) -> None:
    del item_id, size, data


_PROBES: Final[dict[str, Callable[[Litestar, HTTPRouteHandler], bool]]] = {
    "`parsed_fn_signature` of a handler does not describe its parameters: bounds would not be checked": (
        lambda _, handler: (
            parameters(handler)["item_id"].annotation is int
            and getattr(parameters(handler)["size"].kwarg_definition, "name", "") == "Size"
            and any(isinstance(meta, Meta) for meta in parameters(handler)["size"].metadata)
        )
    ),
    "`parsed_data_field` of a handler does not describe its body: JSON would be decoded leniently": (
        lambda _, handler: (
            body_type(handler) == list[int] and body_media_type(handler) == RequestEncodingType.JSON.value
        )
    ),
    "`resolve_dependencies` and `parsed_fn_signature` do not describe the query: `1e1` would be an integer": (
        lambda _, handler: list(query_parameters(handler)) == ["Size"]
    ),
    "`request_max_body_size` of the application has no effect: `MAX_BODY_BYTES` would be ignored": (
        lambda _, handler: set_max_body_bytes(handler, _LIMIT) == _LIMIT
    ),
}
