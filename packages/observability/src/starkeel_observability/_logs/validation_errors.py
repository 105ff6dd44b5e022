"""Texts of validation errors, which repeat the value that was validated."""

import sys
from collections.abc import Iterator
from typing import Final

import msgspec

_LIBRARIES: Final = frozenset({"pydantic", "pydantic_core"})
_ATTRS_VALIDATORS: Final = "attr.validators"
_MAX_CHAIN: Final = 32
_MAX_GROUPS: Final = 4


def without_values(text: str, error: BaseException | None) -> str:
    """Return a text with the messages of the validation errors in an exception's chain replaced.

    Args:
        text: The message or the stack trace of the exception.
        error: The exception.
    """
    for original, replacement in _replacements(error):
        if not original:
            continue
        text = text.replace(original, replacement)
        if "\n" in original:
            # Within exception groups each line has a prefix.
            for depth in range(1, _MAX_GROUPS + 1):
                text = text.replace(original.replace("\n", f"\n{'  ' * depth}| "), replacement)
    return text


def _replacements(error: BaseException | None) -> Iterator[tuple[str, str]]:
    pending, passed = [error], 0
    while pending and passed < _MAX_CHAIN:
        found = pending.pop()
        if found is None:
            continue
        passed += 1
        if isinstance(found, BaseExceptionGroup):
            pending += found.exceptions
        pending += [found.__cause__, found.__context__]
        replacement = _replacement(found)
        if replacement is not None:
            yield str(found), replacement
            if isinstance(found, msgspec.ValidationError) and found.__cause__ is not None:
                # What the application's validator raised.
                yield str(found.__cause__), "a value is not valid"


def _replacement(error: BaseException) -> str | None:
    if isinstance(error, msgspec.ValidationError):
        text, at, path = str(error).rpartition(" - at `")
        is_of_msgspec = error.__cause__ is None and not hasattr(error, "errors")
        if is_of_msgspec and not (text or path).startswith(("Invalid value", "Invalid enum value")):
            return str(error)
        return f"a value is not valid{at}{path}" if at else "a value is not valid"
    if type(error).__module__.partition(".")[0] in _LIBRARIES:
        kinds = sorted({str(item.get("type")) for item in _items(error)})
        return f"{len(_items(error))} validation errors of {getattr(error, 'title', '')}: {', '.join(kinds)}"
    if _raised_in(error) == _ATTRS_VALIDATORS:
        return "a value is not valid"
    return None


def _items(error: BaseException) -> list[dict[str, object]]:
    errors = getattr(error, "errors", None)
    return list(errors()) if callable(errors) else []


def _raised_in(error: BaseException) -> str:
    """Return the name of the module that raised an exception."""
    if _ATTRS_VALIDATORS not in sys.modules or error.__traceback__ is None:
        return ""
    frames = error.__traceback__
    while frames.tb_next is not None:
        frames = frames.tb_next
    return str(frames.tb_frame.f_globals.get("__name__", ""))
