"""Python types for the schemas of an OpenAPI document."""

import keyword
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

_REFERENCE: Final = "#/components/schemas/"
_SCALARS: Final = {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS: Final = {
    "uuid": ("uuid", "UUID"),
    "date-time": ("datetime", "datetime"),
    "date": ("datetime", "date"),
    "time": ("datetime", "time"),
}


class UnsupportedError(Exception):
    """The document has something that has no Python type here."""


class Types:
    """Annotations of schemas, with the structs and imports that they need.

    Args:
        schemas: `components.schemas` of the document.
        fields: Fields that a struct has, by its name; all if absent.
    """

    def __init__(
        self, schemas: Mapping[str, Mapping[str, Any]], fields: Mapping[str, Collection[str]]
    ) -> None:
        self._schemas = schemas
        self._fields = fields
        self._structs: dict[str, str] = {}
        self._open: set[str] = set()
        self.imports: dict[str, set[str]] = {}
        """Imported names by module."""

    @property
    def structs(self) -> list[str]:
        """Class definitions, each after those that it uses."""
        return list(self._structs.values())

    @property
    def names(self) -> Collection[str]:
        """Names of the structs."""
        return self._structs.keys()

    def annotation(self, schema: Mapping[str, Any]) -> str:
        """Return the annotation of a schema.

        Raises:
            UnsupportedError: There is none.
        """
        if "$ref" in schema:
            return self._struct(schema["$ref"])
        if "enum" in schema:
            return self._literal(schema["enum"])
        if "const" in schema:
            return self._literal([schema["const"]])
        for union in ("oneOf", "anyOf"):
            if union in schema:
                return self._union([self.annotation(each) for each in schema[union]])
        if "allOf" in schema:
            if len(schema["allOf"]) != 1:
                raise UnsupportedError("`allOf` of several schemas")
            return self.annotation(schema["allOf"][0])
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return self._union([self.annotation({**schema, "type": kind}) for kind in kinds])
        return self._of_type(kinds, schema)

    def imported(self, module: str, name: str) -> str:
        """Return a name after importing it."""
        self.imports.setdefault(module, set()).add(name)
        return name

    def _of_type(self, kind: str | None, schema: Mapping[str, Any]) -> str:
        if kind is None:
            return self.imported("typing", "Any")
        if kind == "string":
            known = _FORMATS.get(schema.get("format", ""))
            return "str" if known is None else self.imported(*known)
        if kind == "array":
            return f"list[{self.annotation(schema.get('items', {}))}]"
        if kind == "object":
            if schema.get("properties"):
                raise UnsupportedError("an object with properties outside of `components.schemas`")
            values = schema.get("additionalProperties", True)
            if isinstance(values, bool):
                values = {}
            return f"dict[str, {self.annotation(values)}]"
        return _SCALARS[kind]

    def _literal(self, values: Collection[Any]) -> str:
        return f"{self.imported('typing', 'Literal')}[{', '.join(map(repr, values))}]"

    def _union(self, kinds: list[str]) -> str:
        # `None` is written last.
        unique = sorted(dict.fromkeys(kinds), key=lambda kind: kind == "None")
        if sum(kind in self._structs for kind in unique) > 1:
            raise UnsupportedError(f"a union of structs: {', '.join(unique)}")
        return " | ".join(unique)

    def _struct(self, reference: str) -> str:
        name = reference.removeprefix(_REFERENCE)
        if name not in self._schemas or not is_name(name):
            raise UnsupportedError(f"the reference {reference!r}")
        schema = self._schemas[name]
        if not schema.get("properties"):
            return self.annotation(schema)
        if name in self._open:
            return repr(name)
        if name not in self._structs:
            self._open.add(name)
            text = self._define(name, schema)
            self._open.remove(name)
            self._structs[name] = text
        return name

    def _define(self, name: str, schema: Mapping[str, Any]) -> str:
        self.imported("msgspec", "Struct")
        properties = schema["properties"]
        chosen = self._fields.get(name, properties)
        if missing := set(chosen) - set(properties):
            raise UnsupportedError(f"{name} has no field {', '.join(sorted(missing))}")
        required = schema.get("required", ())
        lines = [self._field(each, properties[each], is_required=each in required) for each in sorted(chosen)]
        body = "\n".join(f"    {line}" for line in lines)
        return f'class {name}(Struct, frozen=True, kw_only=True):\n    """{_title(name)}."""\n\n{body}\n'

    def _field(self, name: str, schema: Mapping[str, Any], *, is_required: bool) -> str:
        kind, python = self.annotation(schema), variable(name)
        options = [] if python == name else [f"name={name!r}"]
        if not is_required:
            kind = f"{kind} | {self.imported('msgspec', 'UnsetType')}"
            options.insert(0, f"default={self.imported('msgspec', 'UNSET')}")
        if python != name:
            return f"{python}: {kind} = {self.imported('msgspec', 'field')}({', '.join(options)})"
        return f"{name}: {kind}" if is_required else f"{name}: {kind} = UNSET"


def variable(name: str) -> str:
    """Return a Python name for a name of the document, such as `if_match` for `If-Match`.

    Raises:
        UnsupportedError: There is none.
    """
    # Names in camel case stay, because they are valid.
    python = name if is_name(name) else re.sub(r"\W", "_", name).lower()
    python = f"{python}_" if keyword.iskeyword(python) else python
    if not is_name(python):
        raise UnsupportedError(f"the name {name!r}")
    return python


def is_name(text: str) -> bool:
    """Return whether a text is a Python name in ASCII, and no keyword."""
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def _title(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return words[0].upper() + words[1:].lower()
