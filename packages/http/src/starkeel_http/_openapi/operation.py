"""Additions to Litestar's OpenAPI document, so that it states what requests must fulfil."""

from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

_PRECONDITION_REQUIRED: Final = "428"
_IF_MATCH: Final = "if-match"


@dataclass
class DocumentedOperation(Operation):
    """Operation whose parameters are described as they can be sent.

    A parameter is never null. A route that documents 428 requires `If-Match` (RFC 6585, 3).
    """

    def __post_init__(self) -> None:
        is_conditional = _PRECONDITION_REQUIRED in (self.responses or {})
        for parameter in self.parameters or ():
            if not isinstance(parameter, Parameter):
                continue
            if isinstance(parameter.schema, Schema):
                _remove_null(parameter.schema)
            if is_conditional and parameter.name.lower() == _IF_MATCH:
                parameter.required = True


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
