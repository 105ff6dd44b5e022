"""Checks of the names of a new service and of its resource, and of what is left of a removed one."""

import builtins
import io
import keyword
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped]  # has no types

from ..registry import Service
from . import TEMPLATE
from .options import plural_of

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
_RESOURCE: Final = re.compile(r"[a-z]{2,20}")
# Together they name a table and its constraints, of which PostgreSQL cuts names above 63 characters.
_MAX_BOTH: Final = 44


def name_problem(name: str, services: Sequence[Service], root: Path) -> str | None:
    """Return why a name cannot be that of a new service; `None` if it can.

    Args:
        name: The name.
        services: The services of the registry.
        root: The workspace.
    """
    return next(_name_problems(name, services, root), None)


def _name_problems(name: str, services: Sequence[Service], root: Path) -> Iterator[str]:
    if not _NAME.fullmatch(name) or name.endswith("_") or "__" in name:
        yield "use up to 31 lower-case letters, digits and single `_`, such as `order_items`"
        return
    if name in {service.name for service in services}:
        yield f"services/{name} exists: choose another name, or remove the service first"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        yield "Python gives the name a meaning: choose another one"
    if name in sys.stdlib_module_names:
        yield "it is a module of the standard library: choose another name"
    yield from _leftovers(name, root)
    if (root / name).exists() or (root / f"{name}.py").exists():
        yield f"{name} is at the root of the workspace, from which Python imports it: choose another name"
    if normalized(name) in _locked(root):
        yield f"uv.lock has a distribution {normalized(name)}: choose another name"
    if find_spec(name) is not None:
        yield "a package with the name is installed: choose another name"
    if name in _compose_services(root):
        yield f"deploy/compose.yaml has a service {name}: choose another name"
    if f"`{name.upper()}_URL`" in (root / "docs/configuration.md").read_text("utf-8"):
        yield f"{name.upper()}_URL would be the address of the service, and is a setting: choose another name"


def resource_problem(resource: str, name: str, root: Path) -> str | None:
    """Return why a word cannot name the resource of a service; `None` if it can.

    Args:
        resource: The word, in the singular.
        name: Name of the service.
        root: The workspace.
    """
    if not _RESOURCE.fullmatch(resource):
        return "use one word of 2 to 20 lower-case letters, such as `item`"
    if len(name) + len(plural_of(resource)) > _MAX_BOTH:
        return f"with the service's name it has more than {_MAX_BOTH} characters: choose a shorter one"
    used = _identifiers(root / TEMPLATE)
    for word in (resource, plural_of(resource)):
        # The collection may have the name of a built-in function or of a variable of a test.
        if keyword.iskeyword(word) or keyword.issoftkeyword(word) or hasattr(builtins, word) or word in used:
            return f"{word!r} has another meaning in the code of the template: choose another word"
    return None


def half_removed(root: Path) -> str | None:
    """Return the problem with a folder in `services/` that is not a service; `None` if all are."""
    for folder in sorted((root / "services").iterdir()):
        if folder.is_dir() and not (folder / "pyproject.toml").exists() and any(_content(folder)):
            return (
                f"services/{folder.name}: has no pyproject.toml, the service is half removed: remove the"
                f" folder, or restore it with `git checkout -- services/{folder.name}`"
            )
    return None


def normalized(name: str) -> str:
    """Return the name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _content(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _leftovers(name: str, root: Path) -> Iterator[str]:
    for file in (
        f"docs/openapi/{name}.json",
        f"docs/openapi/released/{name}.json",
        f"docs/asyncapi/{name}.json",
        f"docs/asyncapi/released/{name}.json",
        f"deploy/kubernetes/{name}",
    ):
        if (root / file).exists():
            yield f"{file} is left of a service with the name: remove it, or choose another name"


def _locked(root: Path) -> set[str]:
    packages = tomllib.loads((root / "uv.lock").read_text("utf-8"))["package"]
    return {package["name"] for package in packages}


def _compose_services(root: Path) -> set[str]:
    return set(yaml.safe_load((root / "deploy/compose.yaml").read_text("utf-8"))["services"])


def _identifiers(folder: Path) -> set[str]:
    """Return the identifiers of the template, and the names of its modules."""
    found = {path.stem for path in folder.rglob("*.py")}
    for path in folder.rglob("*.py"):
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        found |= {token.string for token in tokens if token.type == tokenize.NAME}
    # `items` is a field of a page, on which no variable depends.
    return {word for word in found if "crate" not in word} - {"item", "items"}
