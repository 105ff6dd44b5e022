"""Span attributes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .source import called, code, constants, described, modules, nodes, table, text

_NAME: Final = re.compile(
    r"(?:client|db|error|http|messaging|network|server|starkeel|url|user_agent)(?:\.[a-z_]+)+"
).fullmatch
MEANINGS: Final = {
    "client.address": "address of the client, as found behind trusted proxies",
    "db.client.connection.wait_time": "seconds that the first statement waited for a connection of the pool",
    "db.collection.name": "table of the statement",
    "db.namespace": "database, or the file of an embedded one",
    "db.operation.name": "operation of the statement, such as `SELECT`",
    "db.query.summary": "operation and table; also the name of the span",
    "db.query.text": "the statement with placeholders, never with values",
    "db.system.name": "`postgresql` or `sqlite`",
    "error.type": "SQLSTATE, status code or class of the error",
    "http.request.method": "method; `_OTHER` if it is unknown",
    "http.request.method_original": "an unknown method",
    "http.request.resend_count": "number of the retry",
    "http.response.status_code": "status of the response",
    "http.route": "template of the route; absent if none matched",
    "messaging.destination.name": "`outbox`, or the name of the job",
    "messaging.message.id": "position of the event, or id of the job",
    "messaging.operation.name": "`receive`, or `process` for a job",
    "messaging.operation.type": "`receive`, or `process` for a job",
    "messaging.system": "`starkeel_jobs`",
    "network.protocol.version": "version of HTTP",
    "server.address": "host that was requested, or that of the upstream or database",
    "server.port": "its port",
    "starkeel.is_stream": "event streams and WebSockets, whose end the client decides",
    "url.full": "URL of a request to an upstream, without the query",
    "url.path": "path, with personal data redacted, without the query",
    "url.scheme": "`http` or `https`",
    "url.template": "template of the route at the upstream",
    "user_agent.original": "the client's `User-Agent`",
}
_HEAD: Final = """# Span attributes

Generated from the source by `just reference`.

Names are those of OpenTelemetry's semantic conventions, where they have one.
The attributes of the resource are `service.name`, `service.version` and what `OTEL_RESOURCE_ATTRIBUTES` has.
Attributes of your own spans are redacted like log fields.
"""


def render(root: Path) -> str:
    """Return the page.

    Raises:
        SystemExit: An attribute has no description.
    """
    packages: dict[str, set[str]] = {}
    for distribution, module in modules(root):
        for name in attributes_of(module):
            packages.setdefault(name, set()).add(distribution)
    described(packages, MEANINGS, "tools/generate/reference/spans.py: MEANINGS")
    rows = [[code(name), MEANINGS[name], ", ".join(sorted(packages[name]))] for name in sorted(packages)]
    return f"{_HEAD}\n{table(['attribute', 'content', 'recorded by'], rows)}"


def attributes_of(module: ast.Module) -> Iterator[str]:
    """Yield the attributes that a module sets: by call, by item, or in a dictionary."""
    names = constants(module)
    for node in nodes(module):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = list(node.keys)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            keys = [node.slice]
        elif isinstance(node, ast.Call) and called(node) == "set_attribute":
            keys = [*node.args[:1]]
        for key in keys:
            name = text(key, names)
            if name is not None and _NAME(name):
                yield name
