"""Typed clients for calls between services, from the OpenAPI document of the called service.

A service declares in its pyproject.toml the operations that it calls, and optionally the fields it reads:

    [tool.starkeel.clients.accounts.operations]
    me = "GET /api/users/me"

    [tool.starkeel.clients.accounts.fields]
    Profile = ["id"]

The client of `accounts` is the module `accounts_client` of the service.
"""

import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..service_template import TEMPLATE
from .client_types import Types, UnsupportedError, is_name, variable

_UNAVAILABLE: Final = frozenset({500, 502, 503, 504})
"""Statuses that starkeel_client handles for every operation."""


class _Declaration(msgspec.Struct, forbid_unknown_fields=True):
    operations: dict[str, str]
    fields: dict[str, list[str]] = {}


def files(root: Path) -> dict[Path, str | None]:
    """Return the modules by path; `None` for one that is no longer declared.

    Raises:
        SystemExit: A declaration is invalid, or does not match the document.
    """
    found: dict[Path, str | None] = {}
    # The template of services has a client, too: it is a service in all but the registration.
    for project in sorted(
        [*root.glob("services/*/pyproject.toml"), *root.glob(f"{TEMPLATE}/pyproject.toml")]
    ):
        service = (
            tomllib.loads(project.read_text("utf-8")).get("project", {}).get("name", project.parent.name)
        )
        folder = project.parent / "src" / service
        for path in folder.glob("*_client.py"):
            if path.read_text("utf-8").startswith(_HEADER):
                found[path] = None
        tables = tomllib.loads(project.read_text("utf-8")).get("tool", {}).get("starkeel", {})
        for upstream, table in tables.get("clients", {}).items():
            try:
                found[folder / f"{upstream}_client.py"] = _client(root, upstream, table)
            except (UnsupportedError, msgspec.ValidationError, OSError) as error:
                raise SystemExit(f"{service}: client of {upstream}: {error}") from None
    return found


_HEADER: Final = '"""Client of '


def _client(root: Path, upstream: str, table: Mapping[str, Any]) -> str:
    declared = msgspec.convert(table, _Declaration)
    if not is_name(upstream):
        raise UnsupportedError(f"the name {upstream!r}")
    document = msgspec.json.decode((root / "docs" / "openapi" / f"{upstream}.json").read_bytes())
    types = Types(document.get("components", {}).get("schemas", {}), declared.fields)
    types.imported("dataclasses", "dataclass")
    types.imported("starkeel_client", "UpstreamClient")
    methods = []
    for name, operation in sorted(declared.operations.items()):
        try:
            methods.append(_Operation(document, types, name, operation).render())
        except UnsupportedError as error:
            raise UnsupportedError(f"{operation}: {error}") from None
    if unused := declared.fields.keys() - types.names:
        raise UnsupportedError(f"the operations do not use {', '.join(sorted(unused))}")
    class_name = f"{''.join(part.title() for part in upstream.split('_'))}Client"
    head = (
        f"@dataclass(frozen=True, slots=True)\nclass {class_name}:\n"
        f'    """Operations of {upstream} that this service calls."""\n\n    upstream: UpstreamClient\n\n'
    )
    title = (
        f'{_HEADER}{upstream}, generated from docs/openapi/{upstream}.json by `just clients`: do not edit."""'
    )
    parts = [title, _imports(types), *types.structs, head + "\n".join(methods)]
    return _formatted("\n\n".join(parts))


class _Operation:
    """A method for an operation of the document.

    Args:
        document: The OpenAPI document.
        types: Types of its schemas.
        name: Name of the method.
        operation: Method and path, such as `GET /api/users/me`.

    Raises:
        UnsupportedError: There is no such operation, or it has something that has no rendering here.
    """

    def __init__(self, document: Mapping[str, Any], types: Types, name: str, operation: str) -> None:
        self._method, _, self._path = operation.partition(" ")
        item = document["paths"].get(self._path, {})
        found = item.get(self._method.lower())
        if found is None or not self._method.isupper() or not re.fullmatch(r"[\w/{}.~-]+", self._path):
            raise UnsupportedError("the document has no such operation")
        if not is_name(name) or name == "upstream":
            raise UnsupportedError(f"the name {name!r}")
        self._name, self._types = name, types
        self._operation: Mapping[str, Any] = found
        self._parameters = [*item.get("parameters", ()), *found.get("parameters", ())]
        self._schemes = document.get("components", {}).get("securitySchemes", {})

    def render(self) -> str:
        """Return the definition of the method."""
        headers, arguments = self._token()
        params: dict[str, str] = {}
        path = f'"{self._path}"'
        for parameter in self._parameters:
            name, place = parameter["name"], parameter["in"]
            argument, value = self._parameter(parameter)
            if place == "path":
                quote = f"{self._types.imported('urllib.parse', 'quote')}({value}, safe='')"
                path = path.replace(f"{{{name}}}", f"{{{quote}}}")
            elif place in {"query", "header"}:
                (params if place == "query" else headers)[name] = value
            else:
                raise UnsupportedError(f"a parameter in {place}")
            arguments.append(argument)
        body = self._body()
        if body is not None:
            arguments.insert(0, f"body: {body}")
        given = [f'"{self._method}"', f"f{path}" if "{" in path else path, f'route="{self._path}"']
        given += [f"params={_mapping(params)}"] * bool(params) + [f"headers={_mapping(headers)}"] * bool(
            headers
        )
        given += ["json=body"] * (body is not None)
        # Those that may be omitted stand behind the others.
        signature = ", ".join(
            ["self", *(["*", *sorted(arguments, key=lambda it: "=" in it)] if arguments else [])]
        )
        result, statements = self._result()
        lines = [
            *self._docstring(),
            f"response = await self.upstream.request({', '.join(given)})",
            *statements,
        ]
        text = "\n".join(textwrap.indent(line, "        ") for line in lines)
        return f"    async def {self._name}({signature}) -> {result}:\n{text}\n"

    def _token(self) -> tuple[dict[str, str], list[str]]:
        required = self._operation.get("security") or [{}]
        names = {name for each in required for name in each}
        if not names:
            return {}, []
        kinds = {str(self._schemes.get(name, {}).get("scheme", "")).lower() for name in names}
        if kinds != {"bearer"}:
            raise UnsupportedError(f"the security schemes {', '.join(sorted(names))}: only bearer tokens")
        return {"Authorization": 'f"Bearer {token}"'}, ["token: str"]

    def _parameter(self, parameter: Mapping[str, Any]) -> tuple[str, str]:
        """Return the argument of a parameter, and its value as text."""
        kind = self._types.annotation(parameter.get("schema", {}))
        name = variable(parameter["name"])
        kinds = {part for part in kind.split(" | ") if part != "None"}
        if any("[" in part and not part.startswith("Literal[") for part in kinds):
            raise UnsupportedError(f"the parameter {parameter['name']} of type {kind}")
        text = f"str({name})"
        if kinds == {"bool"}:
            text = f"str({name}).lower()"
        elif kinds <= {"datetime", "date", "time"}:
            text = f"{name}.isoformat()"
        elif kinds == {"str"}:
            text = name
        if parameter.get("required"):
            return f"{name}: {kind}", text
        if "None" not in kind.split(" | "):
            kind = f"{kind} | None"
        return f"{name}: {kind} = None", text if text == name else f"None if {name} is None else {text}"

    def _body(self) -> str | None:
        content = self._operation.get("requestBody", {}).get("content", {})
        if not content:
            return None
        if "application/json" not in content:
            raise UnsupportedError(f"a request body of type {', '.join(content)}")
        return self._types.annotation(content["application/json"].get("schema", {}))

    def _result(self) -> tuple[str, list[str]]:
        """Return the annotation of the result, and the statements that return it."""
        bodies: dict[str, list[int]] = {}
        for status, response in self._responses():
            if 200 <= status < 300:
                content = response.get("content", {})
                kind = "None"
                if content:
                    if "application/json" not in content:
                        raise UnsupportedError(f"a response of type {', '.join(content)}")
                    kind = self._types.annotation(content["application/json"].get("schema", {}))
                bodies.setdefault(kind, []).append(status)
        empty = bodies.pop("None", [])
        problems = self._problems()
        rest = f", problems={_tuple(problems)}" if problems else ""
        if not bodies:
            return "None", [f"self.upstream.check(response, status={_tuple(empty)}{rest})"]
        if len(bodies) > 1:
            raise UnsupportedError(f"responses of several types: {', '.join(bodies)}")
        ((kind, statuses),) = bodies.items()
        decoded = f"return self.upstream.decode(response, {kind}, status={_tuple(statuses)}{rest})"
        if not empty:
            return kind, [decoded]
        return f"{kind} | None", [f"if response.status_code in {_tuple(empty)}:\n    return None", decoded]

    def _problems(self) -> list[int]:
        return [
            status
            for status, response in self._responses()
            if status >= 400
            and status not in _UNAVAILABLE
            and "application/problem+json" in response.get("content", {})
        ]

    def _responses(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for status, response in sorted(self._operation.get("responses", {}).items()):
            if not re.fullmatch(r"[1-5]\d\d", status):
                raise UnsupportedError(f"the status {status!r}")
            yield int(status), response

    def _docstring(self) -> list[str]:
        summary = self._operation.get("summary") or f"Call {self._method} {self._path}"
        summary = " ".join(summary.rstrip(".").split()).replace("\\", "\\\\").replace('"', "'")
        lines = [f'"""{summary}.']
        if problems := self._problems():
            *others, last = map(str, problems)
            listed = f"{', '.join(others)} or {last}" if others else last
            lines += ["", "Raises:", f"    UpstreamProblemError: The status is {listed}."]
            return [*lines, '"""']
        return [f'{lines[0]}"""']


def _mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in values.items()) + "}"


def _tuple(statuses: list[int]) -> str:
    return repr(tuple(statuses)) if len(statuses) != 1 else f"({statuses[0]},)"


def _imports(types: Types) -> str:
    own = {"starkeel_client", "msgspec"}
    lines = [
        f"from {module} import {', '.join(sorted(types.imports[module]))}" for module in sorted(types.imports)
    ]
    standard = [line for line in lines if line.split()[1] not in own]
    return "\n".join([*standard, "", *(line for line in lines if line.split()[1] in own)])


def _formatted(text: str) -> str:
    """Return a module as `ruff format` writes it, with sorted imports."""
    for arguments in (["check", "--quiet", "--fix-only", "--select", "I"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", "services/client.py", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UnsupportedError(f"the generated module is invalid: {done.stderr.strip()}")
        text = done.stdout
    return text
