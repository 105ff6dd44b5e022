"""All invalid fields of a body, where msgspec itself stops at the first."""

import dataclasses
import enum
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from .._errors.messages import NOT_A_CHOICE, REQUIRED, UNKNOWN, WRONG_FORMAT, of_format
from .._errors.validation import FieldError, body_errors, field_error, joined

_MAX_ERRORS: Final = 100
_MAX_CHOICES: Final = 20
_MAX_UNKNOWN_FIELDS: Final = 10
_MAX_NAME: Final = 100

Hook = Callable[[type, Any], Any]


class _Part(NamedTuple):
    """A value inside another, with its declared type."""

    path: str
    hint: Any
    value: Any


class _Fields(NamedTuple):
    """Fields of an object type by name, with their types and whether they are required."""

    by_name: dict[str, tuple[Any, bool]]
    tag: str | None
    rejects_unknown: bool


def all_errors(hint: Any, value: Any, hook: Hook) -> list[FieldError]:
    """Return the errors of a decoded value, one for each field; empty if it has the declared type."""
    return _errors(_Part("", hint, value), hook)[:_MAX_ERRORS]


def first_errors(error: msgspec.ValidationError, hint: Any, *, within: str = "") -> list[FieldError]:
    """Return the errors that one exception of msgspec describes, with choices and formats of the type."""
    return [_with_format(_with_choices(each, hint), hint) for each in body_errors(error, hint, within=within)]


def _errors(part: _Part, hook: Hook) -> list[FieldError]:
    try:
        msgspec.convert(part.value, part.hint, dec_hook=hook, str_keys=True)
    except msgspec.ValidationError as error:
        found: list[FieldError] = []
        fields = _fields(part.hint) if isinstance(part.value, dict) else None
        if fields is not None:
            found += _of_names(part, fields)
        for inner in _parts(part, fields):
            if len(found) >= _MAX_ERRORS:
                break
            found += _errors(inner, hook)
        return found or first_errors(error, part.hint, within=part.path)
    return []


def _parts(part: _Part, fields: _Fields | None) -> Iterable[_Part]:
    path, hint, value = part
    if fields is not None:
        for name, (inner, _) in fields.by_name.items():
            if name in value:
                yield _Part(joined(path, name), inner, value[name])
    elif isinstance(value, list):
        for member in _members(hint):
            if get_origin(member) is list:
                for index, item in enumerate(value):
                    yield _Part(f"{path}[{index}]", get_args(member)[0], item)


def _of_names(part: _Part, fields: _Fields) -> list[FieldError]:
    """Return the errors of fields that are missing or unknown."""
    path, _, value = part
    found = [
        field_error(joined(path, name), REQUIRED)
        for name, (_, is_required) in fields.by_name.items()
        if is_required and name not in value
    ]
    if fields.rejects_unknown:
        unknown = [name for name in value if name not in fields.by_name and name != fields.tag]
        found += [
            field_error(joined(path, name[:_MAX_NAME]), UNKNOWN) for name in unknown[:_MAX_UNKNOWN_FIELDS]
        ]
    return found


def _fields(hint: Any) -> _Fields | None:
    """Return the fields of the only object type of a hint."""
    members = [member for member in _members(hint) if member is not type(None)]
    if len(members) != 1 or not isinstance(members[0], type):
        return None
    [kind] = members
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        by_name = {each.encode_name: (each.type, each.required) for each in msgspec.structs.fields(kind)}
        return _Fields(by_name, config.tag_field, config.forbid_unknown_fields)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__total__"):
        hints = get_type_hints(kind, include_extras=True)
        described: Any = msgspec.inspect.type_info(kind)
        return _Fields(
            {each.encode_name: (hints[each.name], each.required) for each in described.fields}, None, False
        )
    return None


def _members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(inner for member in get_args(hint) for inner in _members(member))
    return (hint,)


def _with_choices(error: FieldError, hint: Any) -> FieldError:
    """List the accepted values of an enumeration in its error message."""
    if error.message != NOT_A_CHOICE:
        return error
    choices: list[Any] = []
    for member in _members(hint):
        if get_origin(member) is Literal:
            choices += get_args(member)
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            choices += [choice.value for choice in member]
    if not 0 < len(choices) <= _MAX_CHOICES:
        return error
    accepted = ", ".join(f"`{choice}`" for choice in choices)
    return FieldError(field=error.field, message=f"is not one of {accepted}", location=error.location)


def _with_format(error: FieldError, hint: Any) -> FieldError:
    """Add the description of a pattern to its error message."""
    if error.message != WRONG_FORMAT:
        return error
    described = next((meta.description for meta in _metas(hint) if meta.pattern and meta.description), None)
    return field_error(error.field, of_format(described))


def _metas(hint: Any) -> Iterable[msgspec.Meta]:
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        yield from (meta for meta in metas if isinstance(meta, msgspec.Meta))
        yield from _metas(inner)
    elif get_origin(hint) in {Union, types.UnionType}:
        for member in get_args(hint):
            yield from _metas(member)
