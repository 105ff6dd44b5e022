"""Additions to Litestar's OpenAPI document, so that it states what requests must fulfil."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import (
    Example,
    Link,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
)
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import UNSET

from .._compat import parameters
from .examples import example_of

_PRECONDITION_REQUIRED: Final = "428"
_IF_MATCH: Final = "if-match"
_LINKS: Final = "starkeel_http.response_links"


def response_links(links: Mapping[int, Mapping[str, Link]]) -> dict[str, Any]:
    """Return route options with the OpenAPI links of a route's responses.

    Args:
        links: Links by status and name. Each has the `operation_id` of the route that continues.
    """
    return {_LINKS: links}


@dataclass
class DocumentedOperation(Operation):
    """Operation whose parameters are described as they can be sent, with examples and links.

    A parameter is never null. A route that documents 428 requires `If-Match` (RFC 6585, 3).
    """

    handler: ClassVar[HTTPRouteHandler]

    def __post_init__(self) -> None:
        # The operation class of the handler.
        inherited = getattr(super(), "__post_init__", None)
        if inherited is not None:
            inherited()
        self._describe_parameters()
        data = parameters(self.handler).get("data")
        if isinstance(self.request_body, RequestBody) and data is not None:
            _add_example(self.request_body.content, data)
        success = str(self.handler.status_code)
        links: Mapping[int, Mapping[str, Link]] = self.handler.opt.get(_LINKS, {})
        for status, response in (self.responses or {}).items():
            if isinstance(response, OpenAPIResponse):
                if status == success:
                    _add_example(response.content or {}, self.handler.parsed_return_field)
                response.links = {**links.get(int(status), {})} or response.links

    def _describe_parameters(self) -> None:
        is_conditional = _PRECONDITION_REQUIRED in (self.responses or {})
        for parameter in self.parameters or ():
            if not isinstance(parameter, Parameter):
                continue
            if isinstance(parameter.schema, Schema):
                _remove_null(parameter.schema)
            if is_conditional and parameter.name.lower() == _IF_MATCH:
                parameter.required = True


def documented(handler: HTTPRouteHandler) -> type[Operation]:
    """Return a handler's operation class with the additions above."""
    own = handler.operation_class
    if issubclass(own, DocumentedOperation):
        return own
    bases = (DocumentedOperation,) if own is Operation else (DocumentedOperation, own)
    return type(own.__name__, bases, {"handler": handler})


def _add_example(content: Mapping[str, OpenAPIMediaType], field: FieldDefinition) -> None:
    for media_type in content.values():
        if not media_type.examples and (value := example_of(field)) is not UNSET:
            media_type.examples = {"example": Example(value=value)}


def is_closed_struct(field: FieldDefinition) -> bool:
    """Return whether a type is a struct that rejects unknown fields."""
    if field.is_union or not field.is_subclass_of(msgspec.Struct):
        return False
    return bool(field.type_.__struct_config__.forbid_unknown_fields)


def closed_schema(field: FieldDefinition, creator: Any, own: OpenAPISchemaPlugin) -> Schema:
    """Return the schema of a struct that rejects unknown fields, with `additionalProperties: false`.

    Args:
        field: The struct.
        creator: Litestar's `SchemaCreator`.
        own: The calling plugin, which is passed over: another one creates the schema.
    """
    others = (each for each in creator.plugins if each is not own)
    plugin = next(each for each in others if creator.plugin_supports_field(each, field))
    schema: Schema = plugin.to_openapi_schema(field, creator)
    schema.additional_properties = False
    return schema


def _remove_null(schema: Schema) -> None:
    choices = [each for each in schema.one_of or () if isinstance(each, Schema)]
    others = [each for each in choices if each.type != OpenAPIType.NULL]
    if len(others) != 1 or len(choices) != 2 or len(choices) != len(schema.one_of or ()):
        return
    schema.one_of = None
    for field in fields(Schema):
        if getattr(schema, field.name) is None:
            setattr(schema, field.name, getattr(others[0], field.name))
