"""Make a service from the template, registered and with all generated files: all of it, or nothing.

just new-service inventory --needs database,redis --calls accounts
just new-service quotes                    without a database: one endpoint that stores nothing
just new-service billing --needs database --resource invoice
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from .generate import connections
from .registry import ROOT, RegistryError, Service, issuer, read
from .scratch_workspace import ScratchWorkspace, StepError, applied, scratch_workspace
from .service_template.names import half_removed, name_problem, resource_problem
from .service_template.options import Options, default_resource
from .service_template.record import Record
from .service_template.render import TemplateError, render

_NEEDS: Final = ("database", "redis", "broker", "tokens")
_REFUSED: Final = 2


class RefusedError(Exception):
    """The service cannot be made; the message has the problem and the solution."""


def main() -> int:
    """Make the service; return 2 if it cannot be made, and then nothing has changed."""
    given = _arguments()
    root: Path = given.root.resolve()
    try:
        options = checked(given, root)
        _refuse_local_edits(root)
        note = make(options, root)
    except (RefusedError, RegistryError, TemplateError, StepError) as error:
        sys.stderr.write(f"new-service: {error}\n")
        return _REFUSED
    sys.stdout.write(
        f"made services/{options.name}: port {options.port}, admin port {options.admin_port}\n"
        f"next: `just test services/{options.name}`, `just dev`, and its code in"
        f" services/{options.name}/src/{options.name}\n"
    )
    if note is not None:
        sys.stdout.write(f"note: {note}\n")
    return 0


def checked(given: argparse.Namespace, root: Path) -> Options:
    """Return the options of the service that the command line describes.

    Raises:
        RefusedError: An argument is invalid, or the workspace has a part of a service.
        RegistryError: The registry is invalid.
    """
    services = read(root)
    if (problem := half_removed(root)) is not None:
        raise RefusedError(problem)
    if (problem := name_problem(given.name, services, root)) is not None:
        raise RefusedError(f"{given.name!r} cannot name a service: {problem}")
    resource = given.resource or default_resource(given.name)
    if not given.resource and resource_problem(resource, given.name, root) is not None:
        resource = "item"
    if (problem := resource_problem(resource, given.name, root)) is not None:
        raise RefusedError(f"{resource!r} cannot name the resource (--resource): {problem}")
    issuing = issuer(services)
    if issuing is None:
        raise RefusedError("no service issues tokens, which the routes require: one needs a `signing key`")
    port, admin_port = _free_ports(services)
    return Options(
        name=given.name,
        resource=resource,
        needs=_needs(given.needs),
        calls=_calls(given.calls, services),
        issuer=issuing.name,
        port=port,
        admin_port=admin_port,
    )


def make(options: Options, root: Path) -> str | None:
    """Write the service and everything that is generated from it; return what it changes for the others.

    Raises:
        TemplateError: The template is invalid.
        StepError: A step failed; nothing has changed.
    """
    folder = Path("services") / options.name
    rendered = render(options, root)
    files = {folder / name: text.encode() for name, text in rendered.items()}
    files |= {folder / name: content for name, content in Record(options, rendered).files().items()}
    with scratch_workspace(root) as scratch:
        scratch.write(dict(files))
        scratch.generate()
        scratch.lock()
        _release_document(scratch, options.name)
        note = connections.lowered(read(root), read(scratch.directory), connections.limits(root))
        changes = scratch.changes()
        with applied(root, changes):
            _install(root)
    return note


def _release_document(scratch: ScratchWorkspace, name: str) -> None:
    """Make the documents the first released ones, with which later changes are compared."""
    for folder in (Path("docs/openapi"), Path("docs/asyncapi")):
        # A service without events has one document only.
        if (document := scratch.directory / folder / f"{name}.json").exists():
            scratch.write({folder / "released" / f"{name}.json": document.read_bytes()})


def _install(root: Path) -> None:
    sys.stderr.write("installing it into the workspace ...\n")
    command = ["uv", "sync", "--quiet", "--frozen"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def _needs(text: str) -> list[str]:
    found = _list(text)
    for need in found:
        if need == "signing key":
            raise RefusedError("--needs: only one service can issue tokens, and there is one already")
        if need == "worker":
            raise RefusedError(
                "--needs: a worker is for a service with jobs: once it has them, add `worker` to `needs` in"
                " its pyproject.toml, and run `just fleet` (docs/fleet.md#workers-and-the-broker)"
            )
        if need not in _NEEDS:
            raise RefusedError(f"--needs: {need!r} is unknown; known: {', '.join(_NEEDS)}")
    # Its routes require tokens.
    return [need for need in _NEEDS if need in {*found, "tokens"}]


def _calls(text: str, services: Sequence[Service]) -> list[str]:
    names = [service.name for service in services]
    found = _list(text)
    for name in found:
        if name not in names:
            raise RefusedError(f"--calls: there is no service {name!r}; services: {', '.join(names)}")
    return [name for name in names if name in found]


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _free_ports(services: Sequence[Service]) -> tuple[int, int]:
    """Return the ports after the highest ones: those of other services never change."""
    taken = {port for service in services for port in (service.port, service.admin_port)}
    port = max(service.port for service in services) + 1
    admin_port = max(service.admin_port for service in services) + 1
    while port in taken:
        port += 1
    while admin_port in {*taken, port}:
        admin_port += 1
    return port, admin_port


def _refuse_local_edits(root: Path) -> None:
    """Refuse to overwrite generated files that differ from what is generated."""
    sys.stderr.write("checking generated files ...\n")
    checks = (
        ([sys.executable, "-m", "tools.generate", "--check"], "or move the edit out of the generated part"),
        (["uv", "lock", "--check", "--quiet"], "run `uv lock`"),
    )
    for command, solution in checks:
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        except OSError as error:
            raise StepError(f"`{' '.join(command)}` failed: {error}") from error
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            stale = next((line for line in lines if "stale" in line), None)
            if stale is None and lines:
                raise RefusedError(lines[-1])
            raise RefusedError(f"{stale or 'failed'}; {solution}")


def _arguments() -> argparse.Namespace:
    parser = _Parser(
        prog="just new-service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="name of the service, such as inventory")
    parser.add_argument("--needs", default="", help="of database, redis and broker, such as database,redis")
    parser.add_argument("--calls", default="", help="services that it calls: accounts,orders")
    parser.add_argument("--resource", help="what it stores, in the singular (item)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (this repository)")
    return parser.parse_args()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"new-service: {message}; run `just new-service --help`\n")
        raise SystemExit(_REFUSED)


if __name__ == "__main__":
    sys.exit(main())
