"""Supported field types: parsing of a variable's text and a description of accepted values."""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from .._errors import DeclarationError
from .._show.display import quoted, rendered
from .._show.secret import Secret

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
# C0 and C1 control characters and the two Unicode line separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WORDS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


class FieldType(NamedTuple):
    """Parser and description of a type. `parse` raises ValueError; its message may be empty."""

    parse: Callable[[str], Any]
    accepts: str
    secret: bool = False


def field_type_of(hint: Any, metas: Sequence[msgspec.Meta] = ()) -> FieldType:
    """Return the field type for a type hint with bounds.

    Raises:
        DeclarationError: The type is not supported, or a bound does not apply to it.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        base, *extras = get_args(hint)
        return field_type_of(base, [*(extra for extra in extras if isinstance(extra, msgspec.Meta)), *metas])
    if origin in {Union, types.UnionType}:
        members = [member for member in get_args(hint) if member is not type(None)]
        if len(members) != 1:
            raise DeclarationError(f"{hint!r} has several types: declare one, or one and None")
        return field_type_of(members[0], metas)
    if origin is tuple:
        return _tuple(hint, metas)
    if hint in _PLAIN:
        return _plain(hint, metas)
    if metas:
        raise DeclarationError(f"a Meta has no effect on {hint!r}")
    if origin is Literal:
        return _literal(get_args(hint))
    parse = getattr(hint, "parse", None)
    if isinstance(hint, type) and callable(parse):
        return FieldType(lambda text: parse(text.strip()), getattr(hint, "accepts", f"a {hint.__name__}"))
    raise DeclarationError(f"{hint!r} is not a supported type")


def _literal(values: Sequence[object]) -> FieldType:
    *words, last = map(str, values)
    accepts = f"{', '.join(words)} or {last}" if words else last
    return FieldType(_lookup({str(value).lower(): value for value in values}), accepts)


def _lookup(by_text: Mapping[str, object]) -> Callable[[str], object]:
    """Return a parser of fixed words, in any case."""

    def parse(text: str) -> object:
        try:
            return by_text[text.strip().lower()]
        except KeyError:
            raise ValueError from None

    return parse


def _tuple(base: Any, metas: Sequence[msgspec.Meta]) -> FieldType:
    arguments = get_args(base)
    if len(arguments) != 2 or arguments[1] is not Ellipsis:
        raise DeclarationError(f"a list of values is declared as tuple[X, ...], not as {base!r}")
    item = field_type_of(arguments[0])
    _check_declared(tuple, metas)

    def parse(text: str) -> tuple[Any, ...]:
        values = tuple(_item(item, part) for part in text.split(",") if part.strip())
        # Only the count is checked: items are already validated and may be of types unknown to msgspec.
        _check((None,) * len(values), tuple, metas)
        return values

    counts = [f"{_lengths(meta)} items" for meta in metas if meta.min_length or meta.max_length]
    accepts = ", ".join([f"a comma-separated list, each {item.accepts}", *counts])
    return FieldType(parse, accepts, item.secret)


def _item(item: FieldType, part: str) -> Any:
    try:
        return item.parse(part.strip())
    except ValueError as error:
        if item.secret:
            raise ValueError from None
        reason = f": {error}" if str(error) else " is not accepted"
        raise ValueError(f"{quoted(part.strip())}{reason}") from error


def _plain(base: Any, metas: Sequence[msgspec.Meta]) -> FieldType:
    read, noun = _PLAIN[base]
    checked = str if base is Secret else base
    _check_declared(checked, metas)

    def parse(text: str) -> object:
        value = read(text)
        _check(value.reveal() if isinstance(value, Secret) else value, checked, metas)
        return value

    return FieldType(parse, _accepts(noun, metas), base is Secret)


def _check_declared(base: type, metas: Sequence[msgspec.Meta]) -> None:
    for meta in metas:
        try:
            msgspec.json.Decoder(Annotated[base, meta])
        except TypeError as error:
            raise DeclarationError(str(error)) from error


def _check(value: object, base: type, metas: Sequence[msgspec.Meta]) -> None:
    # One at a time: msgspec rejects a bound that occurs in two Metas of one Annotated.
    for meta in metas:
        try:
            msgspec.convert(value, type=Annotated[base, meta])
        except msgspec.ValidationError:
            # The message of msgspec is about JSON; `accepts` describes the same bound.
            raise ValueError from None


def _text(text: str) -> str:
    stripped = text.strip()
    if _CONTROL.search(stripped):
        raise ValueError("contains a control character")
    return stripped


def _int(text: str) -> int:
    # int() alone accepts underscores and the digits of every script.
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError
    return int(text)


def _float(text: str) -> float:
    # float() alone accepts inf and nan, which pass one-sided bounds.
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


_PLAIN: dict[Any, tuple[Callable[[str], object], str]] = {
    str: (_text, "text"),
    bool: (_lookup(_WORDS), "true or false (also 1/0, yes/no, on/off)"),
    int: (_int, "a whole number"),
    float: (_float, "a number"),
    Path: (lambda text: Path(_text(text)), "a path"),
    Secret: (Secret, "text (secret)"),
}


def _accepts(noun: str, metas: Sequence[msgspec.Meta]) -> str:
    described = next((meta.description for meta in reversed(metas) if meta.description), None)
    if described:
        return described
    phrases = [phrase for meta in metas for phrase in _bounds(meta)]
    return f"{noun} {' and '.join(phrases)}" if phrases else noun


def _bounds(meta: msgspec.Meta) -> list[str]:
    if meta.ge is not None and meta.le is not None:
        phrases = [f"from {rendered(meta.ge)} to {rendered(meta.le)}"]
    else:
        at_most = "of at most" if meta.gt is None else "at most"
        bounds = {"greater than": meta.gt, "of at least": meta.ge, "less than": meta.lt, at_most: meta.le}
        phrases = [f"{word} {rendered(bound)}" for word, bound in bounds.items() if bound is not None]
    if meta.multiple_of is not None:
        phrases.append(f"divisible by {rendered(meta.multiple_of)}")
    if meta.min_length is not None or meta.max_length is not None:
        phrases.append(f"of {_lengths(meta)} characters")
    if meta.pattern is not None:
        phrases.append(f"matching {meta.pattern}")
    return phrases


def _lengths(meta: msgspec.Meta) -> str:
    if meta.min_length is None:
        return f"at most {meta.max_length}"
    if meta.max_length is None:
        return f"at least {meta.min_length}"
    return f"{meta.min_length} to {meta.max_length}"
