"""Examples of bodies in the OpenAPI document, composed of the examples of their fields."""

from typing import Any, Final, get_origin

import msgspec
from litestar import Response
from litestar.typing import FieldDefinition
from msgspec import NODEFAULT, UNSET, UnsetType, inspect

_ARRAYS: Final = (
    inspect.ListType,
    inspect.VarTupleType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.CollectionType,
)


def example_of(field: FieldDefinition) -> Any:
    """Return an example of a body: `Meta(examples=...)` of its fields, or what they have by default.

    Args:
        field: The body's type, or a `Response` with it.

    Returns:
        A value as JSON, or `UNSET` if the type is not described by `msgspec` or lacks an example.
    """
    annotation = field.annotation
    if isinstance(get_origin(annotation), type) and issubclass(get_origin(annotation), Response):
        [annotation] = [inner.annotation for inner in field.inner_types] or [Any]
    try:
        described = inspect.type_info(annotation)
    except (TypeError, ValueError):
        return UNSET
    return _example(described)


def _example(described: inspect.Type) -> Any:
    if isinstance(described, inspect.Metadata):
        examples = (described.extra_json_schema or {}).get("examples")
        return examples[0] if examples else _example(described.type)
    if isinstance(described, inspect.StructType) and not described.array_like:
        return _of_fields(described)
    if isinstance(described, _ARRAYS):
        item = _example(described.item_type)
        return UNSET if item is UNSET else [item]
    if isinstance(described, inspect.LiteralType):
        return described.values[0] if len(described.values) == 1 else UNSET
    if isinstance(described, inspect.UnionType):
        return next((found for each in described.types if (found := _example(each)) is not UNSET), UNSET)
    return UNSET


def _of_fields(struct: inspect.StructType) -> Any:
    composed: dict[str, Any] = {}
    if struct.tag_field is not None:
        composed[struct.tag_field] = struct.tag
    for field in struct.fields:
        value = _example(field.type)
        if isinstance(value, UnsetType) and field.default is not NODEFAULT:
            value = msgspec.to_builtins(field.default)
        # Litestar drops every null of the document.
        is_missing = value is None or isinstance(value, UnsetType)
        if is_missing and field.required:
            return UNSET
        if not is_missing:
            composed[field.encode_name] = value
    return composed
