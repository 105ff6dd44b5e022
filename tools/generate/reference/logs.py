"""Log lines: the fields of every line, and the messages with their fields."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .source import called, code, constants, described, modules, nodes, table, text, tree

_LEVELS: Final = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARN",
    "error": "ERROR",
    "critical": "ERROR",
    "exception": "ERROR",
}
_NO_FIELDS: Final = {"exc_info", "level", "message", "after"}
"""Arguments of calls that log which are no fields of the line."""
_RECORD: Final = "packages/observability/src/starkeel_observability/_logs/record.py"
_ACCESS: Final = "packages/observability/src/starkeel_observability/_logs/access_line.py"
FIELDS: Final = {
    "timestamp": "RFC 3339, UTC, microseconds",
    "level": "`TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`",
    "target": "name of the logger",
    "message": "the message, constant for each call",
    "exception": "`type`, `message`, `stack` and the innermost `frames`; without values of variables",
    "file": "source file of the call",
    "line": "line of the call",
    "threadId": "thread of the call",
    "trace_id": "trace of the request",
    "span_id": "span of the request",
    "request_id": "the request's `X-Request-ID`",
    "service": "name of the service",
    "version": "version of the service",
}
ACCESS_FIELDS: Final = {
    "method": "method of the request",
    "path": "path, with personal data redacted, without the query",
    "route": "template of the route; absent if none matched",
    "status": "status of the response; 499 if the client disconnected before",
    "duration_ms": "from the first byte of the request to the last byte of the response",
    "bytes": "bytes of the response's body",
    "client": "address of the client",
}
_HEAD: Final = """# Log lines

Generated from the source by `just reference`.

## Fields of every line

{fields}
`trace_id`, `span_id` and `request_id` are part of lines that are written within a request.
A field of a call that has one of these names is renamed to `field_NAME`.

## Fields of an access line

The message is `request completed`; a failed request also has `error_type`.

{access}
## Messages

Messages are constant, so that they can be searched for and counted.
The fields are those of the call; the code may add others under a condition.
Lines of libraries, and `received SIGTERM` and `received Ctrl+C`, are not in this list.
"""


def render(root: Path) -> str:
    """Return the page.

    Raises:
        SystemExit: A field has no description.
    """
    described(_set(root / _RECORD, "RESERVED"), FIELDS, "tools/generate/reference/logs.py: FIELDS")
    described(
        _set(root / _ACCESS, "FIELDS"), ACCESS_FIELDS, "tools/generate/reference/logs.py: ACCESS_FIELDS"
    )
    head = ["field", "content"]
    sections = [
        _HEAD.format(
            fields=table(head, ([code(name), meaning] for name, meaning in FIELDS.items())),
            access=table(head, ([code(name), meaning] for name, meaning in ACCESS_FIELDS.items())),
        )
    ]
    found: dict[str, dict[tuple[str, str], dict[str, None]]] = {}
    for distribution, module in modules(root):
        for message, level, fields in messages_of(module):
            known = found.setdefault(distribution, {}).setdefault((message, level), {})
            known.update(dict.fromkeys(fields))
    for distribution, messages in found.items():
        rows = [
            [code(message), level, ", ".join(map(code, fields))]
            for (message, level), fields in sorted(messages.items())
        ]
        sections.append(f"### {distribution}\n\n{table(['message', 'level', 'fields'], rows)}")
    return "\n".join(sections)


def messages_of(module: ast.Module) -> Iterator[tuple[str, str, list[str]]]:
    """Yield message, level and fields of each call of a logger, or of a function that logs."""
    names = constants(module)
    for node in nodes(module):
        if isinstance(node, ast.Call) and (found := _logged(node)) is not None:
            level, message = found
            fields = [each.arg for each in node.keywords if each.arg and each.arg not in _NO_FIELDS]
            yield from ((text_, level, fields) for text_ in _texts(message, names))


def _logged(call: ast.Call) -> tuple[str, ast.expr] | None:
    """Return level and message of a call that logs."""
    name = called(call)
    if level := _level_of(call.func):
        return (level, call.args[0]) if call.args else None
    if name in {"_log", "log"} and call.args:
        return "INFO", call.args[0]
    if name == "advance" and len(call.args) > 1:
        given = [text(each.value) for each in call.keywords if each.arg == "level"]
        return _LEVELS[(given[0] if given else None) or "info"], call.args[1]
    messages = [each.value for each in call.keywords if each.arg == "message"]
    return ("INFO", messages[0]) if name == "_record" and messages else None


def _level_of(function: ast.expr) -> str | None:
    """Return the level of a logger's method."""
    if not isinstance(function, ast.Attribute) or function.attr not in _LEVELS:
        return None
    logger = ast.unparse(function.value).lower()
    return _LEVELS[function.attr] if logger.endswith("log") or "logger" in logger else None


def _texts(message: ast.expr, names: dict[str, str]) -> list[str]:
    choices = [message.body, message.orelse] if isinstance(message, ast.IfExp) else [message]
    return [found for choice in choices if (found := text(choice, names)) is not None]


def _set(path: Path, name: str) -> set[str]:
    """Return the strings in the assignment to a name."""
    for node in tree(path).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value is not None:
            return {value for each in ast.walk(node.value) if (value := text(each)) is not None}
    raise SystemExit(f"{path}: has no {name}")
