"""Render the template."""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ..registry import Service
from . import TEMPLATE
from .options import Options

_MARKER: Final = re.compile(r"^\s*(?:#|<!--) template (if|each|end)(?: (.+?))?(?: -->)?$")
_FORMATS: Final = (
    ("check", "--quiet", "--fix-only", "--select", "F401,I"),
    # Joins what fits on a line after parts have been removed.
    ("format", "--quiet", "--config", "format.skip-magic-trailing-comma=true"),
    ("format", "--quiet"),
)


class TemplateError(Exception):
    """The template is invalid; the message has the file and the line."""


def render(options: Options, root: Path) -> dict[str, str]:
    """Return the files of a service by their paths inside its folder.

    Args:
        options: The options of the service.
        root: The workspace with the template, and the settings of the formatter.

    Raises:
        TemplateError: A condition is not closed or not understood, or the result is invalid Python.
    """
    folder = root / TEMPLATE
    conditions = tomllib.loads((folder / "template.toml").read_text("utf-8"))["files"]
    found: dict[str, str] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name in conditions and not _holds(conditions[name], options, name):
            continue
        text = "\n".join(_parts(path.read_text("utf-8"), options, name))
        found[options.words(name)] = _registered(options.words(text), name, options)
    return formatted(found, options, root)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_generated = path.name.endswith("_client.py") or "__pycache__" in path.parts
        if path.is_file() and path.name != "template.toml" and not is_generated:
            yield path


def _parts(text: str, options: Options, name: str) -> Iterator[str]:
    """Yield the lines that the service has."""
    stack: list[tuple[bool, list[str] | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        marker = _MARKER.fullmatch(line)
        is_kept = all(kept for kept, _ in stack)
        if marker is None:
            if (
                is_kept
                and (repeated := next((lines for _, lines in stack if lines is not None), None)) is not None
            ):
                repeated.append(line)
            elif is_kept:
                yield line
        elif marker[1] == "end":
            if not stack:
                raise TemplateError(f"{TEMPLATE / name}:{number}: ends a part that did not begin")
            _, lines = stack.pop()
            for call in options.calls if lines is not None else ():
                yield from (_of_call(each, call, options) for each in lines or ())
        elif marker[1] == "each":
            stack.append((True, []))
        else:
            stack.append((_holds(marker[2] or "", options, f"{name}:{number}"), None))
    if stack:
        raise TemplateError(f"{TEMPLATE / name}: a part is not ended")


def _of_call(line: str, call: str, options: Options) -> str:
    # The words of the issuer are replaced later, and are those of another service here.
    if call == options.issuer:
        return line
    return line.replace("accounts", call).replace("ACCOUNTS", call.upper())


def _holds(condition: str, options: Options, place: str) -> bool:
    return all(_term(term, options, place) for term in condition.split(" and "))


def _term(term: str, options: Options, place: str) -> bool:
    if term.startswith("not "):
        return not _term(term.removeprefix("not "), options, place)
    kind, _, value = term.partition(" ")
    meanings: dict[str, Callable[[], bool]] = {
        "database": lambda: "database" in options.needs,
        "redis": lambda: "redis" in options.needs,
        "broker": lambda: "broker" in options.needs,
        "calls": lambda: options.words(value) in options.calls if value else bool(options.calls),
        # Fields that the registry has.
        "registry": lambda: value in Service.__struct_fields__,
    }
    if kind not in meanings:
        raise TemplateError(f"{TEMPLATE / place}: unknown condition {term!r}; known: {', '.join(meanings)}")
    return meanings[kind]()


def _registered(text: str, name: str, options: Options) -> str:
    """Return a file with the entry of the service in the registry."""
    if name != "pyproject.toml":
        return text
    values = {
        "port": options.port,
        "admin_port": options.admin_port,
        "needs": options.needs,
        "calls": options.calls,
    }
    for field, value in values.items():
        shown = str(value).replace("'", '"')
        text = re.sub(rf"(?m)^{field} = .*$", f"{field} = {shown}", text)
    return text


def formatted(files: dict[str, str], options: Options, root: Path) -> dict[str, str]:
    """Return rendered files without unused imports, and formatted.

    Args:
        files: Contents by path in the folder of the service.
        options: The options of the service.
        root: The workspace with the settings of the formatter.

    Raises:
        TemplateError: A file is invalid Python.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "services" / options.name
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        # Imports of the workspace's own tests are first-party, as in the workspace.
        configured = ["--no-cache", "--config", str(root / "pyproject.toml"), "--config", f"src = ['{root}']"]
        for arguments in _FORMATS:
            command = [sys.executable, "-m", "ruff", *arguments, *configured, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise TemplateError(f"{TEMPLATE}: the rendered service is invalid: {done.stderr.strip()}")
        return {name: re.sub(r"\n{3,}(?=\Z)", "\n", (folder / name).read_text("utf-8")) for name in files}
