"""Comparison of two JSON schemas: whether all values of one are values of the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]
_References = frozenset[tuple[str, str]]

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("pattern", "format", "multipleOf", "contentMediaType")
_OTHER_TYPE: Final = "is not accepted"


@dataclass(frozen=True)
class Subset:
    """Comparison of the schemas of two documents.

    Args:
        narrow: The document whose values must be accepted.
        wide: The document that must accept them.
        is_response: Whether the values are those of responses: a field may be added, and none removed.
    """

    narrow: Mapping[str, Any]
    wide: Mapping[str, Any]
    is_response: bool

    def excess(
        self, narrow: Schema, wide: Schema, where: str, *, within: _References = frozenset()
    ) -> Iterator[str]:
        """Yield what allows a value in `narrow` that is not valid in `wide`.

        Args:
            where: Name of the place, for messages.
            within: References whose comparison contains this one: a schema may contain itself.
        """
        references = narrow.get("$ref", ""), wide.get("$ref", "")
        if references in within:
            return
        if any(references):
            within |= {references}
        accepted = _alternatives(wide, self.wide)
        for each in _alternatives(narrow, self.narrow):
            found = [list(self._excess(each, other, where, within)) for other in accepted]
            if all(found):
                # Of several alternatives, the most similar one explains the difference.
                yield from min(found, key=lambda reasons: (reasons[0].endswith(_OTHER_TYPE), len(reasons)))

    def _excess(self, narrow: Schema, wide: Schema, where: str, within: _References) -> Iterator[str]:
        if not _is_type_accepted(narrow.get("type"), wide.get("type")):
            yield f"{where}: {narrow.get('type', 'any type')} {_OTHER_TYPE}"
            return
        yield from _outside_values(narrow, wide, where)
        yield from _outside_bounds(narrow, wide, where)
        yield from self._outside_fields(narrow, wide, where, within)
        if "items" in wide:
            yield from self.excess(narrow.get("items", {}), wide["items"], f"{where}[]", within=within)

    def _outside_fields(self, narrow: Schema, wide: Schema, where: str, within: _References) -> Iterator[str]:
        own, accepted = narrow.get("properties", {}), wide.get("properties", {})
        for name in sorted(set(wide.get("required", ())) - set(narrow.get("required", ()))):
            yield f"{where}.{name}: is {'no longer always sent' if self.is_response else 'now required'}"
        for name in sorted(accepted.keys() - own.keys() if self.is_response else ()):
            if name not in wide.get("required", ()):
                yield f"{where}.{name}: is removed"
        is_closed = wide.get("additionalProperties", True) is False
        if is_closed and not self.is_response:
            for name in sorted(own.keys() - accepted.keys()):
                yield f"{where}.{name}: is removed"
            if "properties" in narrow and narrow.get("additionalProperties", True) is not False:
                yield f"{where}: unknown fields are now rejected"
        for name in sorted(own.keys() & accepted.keys()):
            yield from self.excess(own[name], accepted[name], f"{where}.{name}", within=within)
        others, accepted_others = (each.get("additionalProperties") for each in (narrow, wide))
        if isinstance(accepted_others, Mapping) and others is not False:
            inner = others if isinstance(others, Mapping) else {}
            yield from self.excess(inner, accepted_others, f"{where}.*", within=within)


def resolved(schema: Schema, document: Mapping[str, Any]) -> Schema:
    """Return the schema behind a reference within a document."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _alternatives(schema: Schema, document: Mapping[str, Any]) -> list[Schema]:
    """Return the schemas of which a value matches one, each with at most one type."""
    schema = resolved(schema, document)
    for keyword in ("oneOf", "anyOf"):
        if keyword in schema:
            rest = {name: value for name, value in schema.items() if name != keyword}
            inner = [found for each in schema[keyword] for found in _alternatives(each, document)]
            return [{**rest, **each} for each in inner]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": each} for each in schema["type"]]
    return [schema]


def _is_type_accepted(narrow: str | None, wide: str | None) -> bool:
    return wide is None or narrow == wide or (narrow, wide) == ("integer", "number")


def _outside_values(narrow: Schema, wide: Schema, where: str) -> Iterator[str]:
    accepted = _values(wide)
    if accepted is None:
        return
    own = _values(narrow)
    if own is None:
        yield f"{where}: any value, of which only {accepted} are accepted"
        return
    for value in own:
        if value not in accepted:
            yield f"{where}: the value {value!r} is not accepted"


def _values(schema: Schema) -> list[Any] | None:
    found: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return found


def _outside_bounds(narrow: Schema, wide: Schema, where: str) -> Iterator[str]:
    for name in _LOWER:
        if name in wide and narrow.get(name, float("-inf")) < wide[name]:
            yield f"{where}: {name} {narrow.get(name, 'without bound')} is below {wide[name]}"
    for name in _UPPER:
        if name in wide and narrow.get(name, float("inf")) > wide[name]:
            yield f"{where}: {name} {narrow.get(name, 'without bound')} is above {wide[name]}"
    for name in _EXACT:
        if name in wide and narrow.get(name) != wide[name]:
            yield f"{where}: {name} {narrow.get(name, 'without restriction')} is not {wide[name]}"
    if wide.get("uniqueItems") and not narrow.get("uniqueItems"):
        yield f"{where}: repeated items are not accepted"
