"""Requests generated from an OpenAPI document, valid and invalid ones, with the document's own decision."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonschema
import msgspec
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema

_SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(max_size=20)
)
_VALUES: Final = _SCALARS | st.lists(_SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), _SCALARS)
_COMPARED: Final = (
    "type",
    "enum",
    "const",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)

Formats = Mapping[str, st.SearchStrategy[str]]


class Contract:
    """A service's OpenAPI document.

    Args:
        document: The document.
        formats: Strategies for the formats it uses.
    """

    def __init__(self, document: dict[str, Any], formats: Formats) -> None:
        self.document = document
        self._formats = formats

    def operations(self) -> list[tuple[str, str]]:
        """Return method and path of each operation with a body."""
        paths = self.document["paths"].items()
        return [
            (method, path)
            for path, item in paths
            for method, operation in item.items()
            if "requestBody" in operation
        ]

    def body_schema(self, method: str, path: str) -> dict[str, Any]:
        [content] = self.document["paths"][path][method]["requestBody"]["content"].values()
        return self.resolved(content["schema"])

    def parameter(self, method: str, path: str, name: str) -> dict[str, Any]:
        parameters = self.document["paths"][path][method]["parameters"]
        return next(each for each in parameters if each["name"] == name)

    def resolved(self, schema: Any) -> Any:
        """Return a schema with its references replaced."""
        if isinstance(schema, dict):
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                return self.resolved(self.document["components"]["schemas"][name])
            return {name: self.resolved(inner) for name, inner in schema.items()}
        return [self.resolved(inner) for inner in schema] if isinstance(schema, list) else schema

    def valid(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Return a strategy for valid values."""
        # Under other names, as the strategies for standard formats cannot be replaced.
        custom = {f"own-{name}": strategy for name, strategy in self._formats.items()}
        text = json.dumps(schema)
        for name in self._formats:
            text = text.replace(f'"format": "{name}"', f'"format": "own-{name}"')
        renamed = json.loads(text)
        if "properties" not in renamed:
            return from_schema(renamed, custom_formats=custom)
        fields = {
            name: from_schema(inner, custom_formats=custom) for name, inner in renamed["properties"].items()
        }
        required = {name: fields[name] for name in renamed["required"]}
        optional = {name: strategy for name, strategy in fields.items() if name not in required}
        return st.fixed_dictionaries(required, optional=optional)

    def bodies(self, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Return a strategy for bodies: valid ones, and those with one change."""
        # A body that may be null has a schema of alternatives; null is one of the values.
        alternatives = schema.get("oneOf", [schema])
        [schema] = [each for each in alternatives if "properties" in each]
        valid = self.valid(schema)
        names = st.sampled_from(sorted(schema["properties"]))

        def change(body: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
            return {**body, name: value}

        def remove(body: dict[str, Any], name: str) -> dict[str, Any]:
            return {each: body[each] for each in body if each != name}

        changed = st.builds(change, valid, names | st.text(max_size=8), _VALUES)
        return valid | changed | st.builds(remove, valid, names) | _VALUES


def is_valid(schema: Mapping[str, Any], value: Any, checks: Mapping[str, Callable[[str], bool]]) -> bool:
    """Return whether a value is valid, with checks for formats."""
    checker = jsonschema.FormatChecker(formats=())
    for name, check in checks.items():
        checker.checks(name)(lambda text, check=check: not isinstance(text, str) or check(text))
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    return bool(validator.is_valid(value))


def matches(schema: Mapping[str, Any], text: str) -> bool:
    """Return whether the text of a parameter is valid."""
    if schema["type"] == "integer":
        if re.fullmatch("-?[0-9]+", text) is None:
            return False
        return bool(jsonschema.Draft202012Validator(schema).is_valid(int(text)))
    return bool(jsonschema.Draft202012Validator(schema).is_valid(text))


def constraints(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema of an object requires: names, types and bounds."""
    return {
        "required": sorted(schema.get("required", ())),
        "additionalProperties": schema.get("additionalProperties", True),
        "properties": {name: _bounds(inner) for name, inner in schema["properties"].items()},
    }


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds of a property; of one that may be null, those of its other type."""
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    inner = {**schema, **alternatives[0]} if len(alternatives) == 1 else schema
    return {key: inner[key] for key in _COMPARED if key in inner}


def decoder_constraints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the same of the type that the decoder uses."""
    _, components = msgspec.json.schema_components([kind])
    schema = components[kind.__name__]
    for inner in schema["properties"].values():
        # Documented, and checked by the handler.
        inner |= inner.pop("extra", {})
    return constraints(schema)


def sent(body: Any) -> bytes:
    return json.dumps(body).encode()
