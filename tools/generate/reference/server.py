"""Endpoints of the admin port, and exit codes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .source import called, code, described, modules, table, text, tree

_EXIT_CODES: Final = "packages/server/src/starkeel_server/_config/exit_codes.py"
MEANINGS: Final = {
    "STOPPED": "stopped by a signal, also during startup; or the command succeeded",
    "CRASH_LOOP": "workers ended before they were up, the application was not created, or a command failed",
    "MIGRATION_FAILED": "a migration failed, or newer code has migrated the database by a contraction",
    "DATABASE_UNAVAILABLE": "the database was unavailable",
    "WORKER_KILLED": "a worker had to be killed, or did not close in time",
    "PORT_UNAVAILABLE": "a port could not be bound",
    "INVALID_CONFIGURATION": "invalid configuration; every problem is written to stderr",
    "SECOND_SIGNAL": "second Ctrl-C, or SIGQUIT",
}
_ENDPOINTS_HEAD: Final = """# Admin endpoints

Generated from the source by `just reference`; [the guide](../telemetry.md) describes their use.

They are on the admin port, `METRICS_HOST` and `METRICS_PORT`, which belongs to the main process.
An endpoint for this machine returns 403 to other peers.
"""
_EXIT_CODES_HEAD: Final = """# Exit codes

Generated from the source by `just reference`.

Numbers from 64 to 78 are those of `sysexits.h`.
Wrong usage of the command line is 2, and a command whose reader has ended, such as `head`, ends with 141.
"""


class _Endpoint(NamedTuple):
    path: str
    title: str
    is_private: bool


def render_endpoints(root: Path) -> str:
    """Return the page of the admin endpoints."""
    rows = [
        [code(each.path), each.title, "this machine" if each.is_private else "every peer"]
        for each in sorted(_endpoints(root))
    ]
    return f"{_ENDPOINTS_HEAD}\n{table(['endpoint', 'returns', 'access'], rows)}"


def render_exit_codes(root: Path) -> str:
    """Return the page of the exit codes.

    Raises:
        SystemExit: A code has no description.
    """
    codes = {
        node.targets[0].id: node.value.value
        for node in tree(root / _EXIT_CODES).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int)
    }
    described(codes, MEANINGS, "tools/generate/reference/server.py: MEANINGS")
    rows = [[str(codes[name]), MEANINGS[name]] for name in sorted(codes, key=codes.__getitem__)]
    return f"{_EXIT_CODES_HEAD}\n{table(['code', 'meaning'], rows)}"


def _endpoints(root: Path) -> Iterator[_Endpoint]:
    trees = [module for distribution, module in modules(root) if distribution == "starkeel-server"]
    functions = {
        node.name: node for module in trees for node in module.body if isinstance(node, ast.FunctionDef)
    }
    for node in (node for module in trees for node in ast.walk(module)):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            path = text(key)
            if path is None or not path.startswith("/"):
                continue
            # An endpoint is created in the dictionary, or by a function.
            created = functions.get(called(value), value)
            yield from (
                _Endpoint(path, title, any(each.arg == "is_private" for each in call.keywords))
                for call in ast.walk(created)
                if isinstance(call, ast.Call) and called(call) == "Endpoint"
                if (title := text(call.args[1])) is not None
            )
