"""Writing of a commented `seatrial.toml`."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from .model import Config, Doc


def commented(values: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Return a file with every key: those with a value, and the others as comments with their default.

    Args:
        values: Value by key, such as `paths.metrics`.
        notes: Remark by key, written before it.
    """
    return (
        "\n".join(["# Configuration of seatrial. Every key is optional.", *_table(Config, "", values, notes)])
        + "\n"
    )


def _table(kind: Any, prefix: str, values: Mapping[str, Any], notes: Mapping[str, str]) -> Iterator[str]:
    default = kind()
    hints = get_type_hints(kind, include_extras=True)
    tables = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    for name, hint in hints.items():
        if name in tables:
            continue
        key = f"{prefix}{name}"
        doc = next(each for each in get_args(hint) if isinstance(each, Doc))
        yield f"\n# {doc.text}"
        if key in notes:
            yield f"# {notes[key]}"
        value = values.get(key, getattr(default, name))
        yield f"{'' if key in values else '# '}{name} = {_text(value)}"
    for name, hint in tables.items():
        yield f"\n[{prefix}{name}]\n# {(hint.__doc__ or name).splitlines()[0]}"
        yield from _table(hint, f"{prefix}{name}.", values, notes)


def _text(value: Any) -> str:
    # Strings, numbers and arrays of JSON are those of TOML.
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{json.dumps(name)} = {json.dumps(text)}" for name, text in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)
