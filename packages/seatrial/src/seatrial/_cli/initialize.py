"""The command `init`."""

import argparse
from pathlib import Path
from typing import Any

from .._config.model import Config
from .._config.read import DEFAULT_FILE
from .._config.write import commented
from .._errors import UsageError
from .._rows.verdict import Undecided
from .._run.budget import Budget, BudgetExhausted
from .._target.service import Service
from .check import open_service

_SECONDS = 60.0
_REQUESTS = 100


def add_parser(commands: Any) -> None:
    """Add the parser of the command to the subparsers."""
    parser = commands.add_parser("init", help="search a running service and write a commented seatrial.toml")
    parser.add_argument("url", metavar="URL", help="base URL")
    parser.add_argument("--admin", metavar="URL", help="base URL of a separate port for operators")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, default=DEFAULT_FILE, help="default: %(default)s"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def run(arguments: argparse.Namespace) -> str:
    """Write the file and return what was found.

    Raises:
        UsageError: The service cannot be reached, or the file exists.
    """
    path: Path = arguments.output
    if path.exists() and not arguments.force:
        raise UsageError(f"--output {path}: the file exists; pass --force to replace it")
    try:
        service = open_service(arguments.url, arguments.admin, Config(), Budget(_SECONDS, _REQUESTS))
        values, notes = _found(service)
    except (OSError, BudgetExhausted) as error:
        raise UsageError(f"cannot read {arguments.url}: {error}") from error
    try:
        path.write_text(commented(values, notes), "utf-8")
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror or error}") from error
    lines = [f"{key} = {value}\n" for key, value in values.items()]
    lines += [f"{key}: {note}\n" for key, note in notes.items()]
    return "".join([*lines, f"wrote {path}\n"])


def _found(service: Service) -> tuple[dict[str, str], dict[str, str]]:
    paths = {
        "paths.liveness": service.liveness,
        "paths.readiness": service.readiness,
        "paths.metrics": service.metrics[1] if service.metrics else None,
        "paths.openapi": service.openapi[0] if service.openapi else None,
    }
    values = {"url": service.client.address.url}
    if service.admin:
        values["admin_url"] = service.admin.address.url
    notes = {}
    for key, found in paths.items():
        if found:
            values[key] = found
        else:
            notes[key] = "Not found by the usual paths: set it, or rows that need it are unknown."
    try:
        values["auth.protected_path"] = service.protected_path
        notes["auth.token_command"] = "Not guessed: without a token, rows about forged tokens are unknown."
    except Undecided:
        notes["auth.protected_path"] = "Not found: set it if the service has protected paths."
    for operation in service.operations:
        if operation.has_json_body and not operation.needs_parameters and operation.method != "DELETE":
            values |= {"safe_write.method": operation.method, "safe_write.path": operation.path}
            notes["safe_write.path"] = "The first operation with a JSON body: replace it by a harmless one."
            break
    else:
        notes["safe_write.path"] = "Not found: set it, or rows about bodies are unknown."
    return values, notes
