"""YAML documents of a file, a directory or standard input."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # has no types

from .._errors import UsageError
from .._static.fields import Fields

_MAX_BYTES: Final = 32 << 20
_MAX_VALUES: Final = 400_000
"""Lines and commas, each of which can add a value of up to a kilobyte of memory."""
_MAX_FILES: Final = 5_000
_MAX_MERGED: Final = 200_000
_SUFFIXES: Final = {".yaml", ".yml", ".json"}
_KUSTOMIZATION: Final = {"kustomization.yaml", "kustomization.yml", "Kustomization"}
_UNQUOTED = "tag:yaml.org,2002:"


class ManifestError(UsageError):
    """Manifests cannot be read: they are missing, not valid, or need to be rendered first."""


def read_documents(source: str) -> list[Fields]:
    """Return the mappings among the documents of a file, a directory and its subdirectories, or `-`.

    Raises:
        ManifestError: There are none, or one is not valid YAML.
    """
    found = [
        Fields(document, f"{name}[{number}]" if len(documents) > 1 else name)
        for name, documents in _parsed(source)
        for number, document in enumerate(documents)
        if isinstance(document, dict)
    ]
    if not found:
        raise ManifestError(f"{_name(source)} contains no manifest")
    return found


def _parsed(source: str) -> Iterator[tuple[str, list[Any]]]:
    size = values = 0
    for name, data in _texts(source):
        size += len(data)
        values += data.count(b"\n") + data.count(b",")
        if size > _MAX_BYTES or values > _MAX_VALUES:
            raise ManifestError(
                f"{_name(source)} has more than {_MAX_BYTES >> 20} MiB or {_MAX_VALUES} lines, the limit of "
                "the reader; give the manifests of one application"
            )
        yield name, _load(data, name)


def _texts(source: str) -> Iterator[tuple[str, bytes]]:
    if source == "-":
        yield _name(source), sys.stdin.buffer.read(_MAX_BYTES + 1)
        return
    path = Path(source)
    try:
        for file in _files(path):
            with file.open("rb") as stream:
                yield str(file.relative_to(path) if path.is_dir() else file), stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{error.filename or source} cannot be read: {error.strerror}") from error


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if any((path / name).exists() for name in _KUSTOMIZATION):
        raise ManifestError(
            f"{path} is a kustomization; use: kubectl kustomize {path} | seatrial manifests -"
        )
    if (path / "Chart.yaml").exists():
        raise ManifestError(f"{path} is a chart; use: helm template {path} | seatrial manifests -")
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in _SUFFIXES and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if len(found) > _MAX_FILES:
        raise ManifestError(f"{path} has more than {_MAX_FILES} files; give a directory of manifests")
    return found


def _name(source: str) -> str:
    return "standard input" if source == "-" else source


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML as Kubernetes and Compose do: without dates and numbers of base 60 (`22:22`)."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - replaced below
    merged = 0

    def flatten_mapping(self, node: Any) -> None:
        before = len(node.value)
        super().flatten_mapping(node)
        self.merged += max(0, len(node.value) - before)
        if self.merged > _MAX_MERGED:
            raise ManifestError(f"merge keys (`<<`) result in more than {_MAX_MERGED} entries")


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.removeprefix(_UNQUOTED) not in {"timestamp", "int", "float"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_Loader.add_implicit_resolver(
    f"{_UNQUOTED}int",
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    f"{_UNQUOTED}float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$"),
    list("-+0123456789."),
)


def _load(data: bytes, name: str) -> list[Any]:
    try:
        return [_checked(each, name) for each in yaml.load_all(data, Loader=_Loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        hint = "; render templates first" if b"{{" in data else ""
        raise ManifestError(f"{name}{line} is not valid YAML: {error.problem}{hint}") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ManifestError(f"{name} is not valid YAML: {str(error).splitlines()[0]}") from error


def _checked(document: Any, name: str) -> Any:
    if isinstance(document, dict) and str(document.get("apiVersion")).startswith("kustomize.config.k8s.io/"):
        raise ManifestError(f"{name} is a kustomization; use: kubectl kustomize DIR | seatrial manifests -")
    return document
