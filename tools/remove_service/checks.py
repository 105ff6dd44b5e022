"""Files that belong to a service, and reasons not to remove it."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

_FOLDERS = (
    *("services/{}", "deploy/kubernetes/{}"),
    *("docs/openapi/{}.json", "docs/openapi/released/{}.json"),
    *("docs/asyncapi/{}.json", "docs/asyncapi/released/{}.json"),
)
_GENERATED = (
    "uv.lock",
    ".env.example",
    "docs/openapi/",
    "docs/asyncapi/",
    "docs/configuration.md",
    "deploy/observability/grafana/",
)
_HISTORY = ("CHANGELOG.md", "changes/", "docs/decisions/")
_NOT_LISTED = ("tests/", "packages/", "docs/reference/", *_HISTORY, *_GENERATED)
"""Places with a declared name, a sample, history, or generated text."""


class Refusal(Exception):
    """The service cannot be removed; the message has the reason and the solution."""


def owned_paths(root: Path, name: str) -> list[Path]:
    """Return the paths of a service's own files and folders, whether or not they exist."""
    # An underscore is invalid in names of Kubernetes.
    spelled = {name: None, name.replace("_", "-"): None}
    return list(dict.fromkeys(root / each.format(form) for form in spelled for each in _FOLDERS))


def removed_paths(root: Path, name: str) -> list[Path]:
    """Return the files and folders that belong to a service, also those of one that is half removed.

    Raises:
        Refusal: There is nothing of such a service, another one calls it, or it is the only one.
    """
    names = sorted(file.parent.name for file in root.glob("services/*/pyproject.toml"))
    is_name = re.fullmatch(r"[A-Za-z0-9_-]+", name) is not None
    found = [path for path in owned_paths(root, name) if path.exists()] if is_name else []
    if not found and not (is_name and _is_listed(root, name)):
        raise Refusal(f"there is no service {name!r}; services: {', '.join(names)}")
    for caller in names:
        if caller != name and name in _calls(root / "services" / caller / "pyproject.toml"):
            raise Refusal(
                f"services/{caller}/pyproject.toml: [tool.starkeel] calls: {caller} calls {name}: remove"
                f" {name!r} from it and from the code, or run `just remove-service {caller}` first"
            )
    if names == [name]:
        raise Refusal(
            f"services/{name} is the only service, and a workspace needs one: add another one first"
        )
    return found


def _is_listed(root: Path, name: str) -> bool:
    """Return whether generated files still have a service whose folder is gone."""
    return (
        re.search(rf"^{name} = \{{ workspace", (root / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
        is not None
    )


def _calls(project: Path) -> list[str]:
    try:
        table = tomllib.loads(project.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return []  # reported when the registry without the service is read
    calls = table.get("tool", {}).get("starkeel", {}).get("calls", [])
    return calls if isinstance(calls, list) else []


def uncommitted(root: Path, name: str, removed: list[Path], *, is_forced: bool) -> list[Path]:
    """Return the files of the service that are in no commit.

    Raises:
        Refusal: Some of its files have changes; of a service that was never committed, all are new.
    """
    paths = [str(path.relative_to(root)) for path in removed]
    if not paths:
        return []
    lines = _git(
        root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *paths
    )
    states = {root / line[3:]: line[:2] for line in lines}
    unsaved = sorted(path for path, state in states.items() if path.exists() and "D" not in state)
    committed = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "--", f"services/{name}")
    if unsaved and committed and not is_forced:
        shown = ", ".join(str(path.relative_to(root)) for path in unsaved[:3])
        more = f" and {len(unsaved) - 3} more" if len(unsaved) > 3 else ""
        raise Refusal(
            f"{shown}{more}: not committed: commit the changes, or move them to .data/removed by"
            f" `just remove-service {name} --force`"
        )
    return unsaved


def development_data(root: Path, name: str) -> list[Path]:
    """Return the databases and logs that `just dev` has written for a service."""
    data = root / ".data"
    return sorted(
        path
        for path in data.rglob(f"{name}*")
        if re.split(r"[.-]", path.name)[0] == name and path.relative_to(data).parts[0] != "removed"
    )


class Mentions(NamedTuple):
    """References to a service that is removed.

    Attributes:
        references: Numbers of lines of code and configuration, by file.
        pages: Documentation that has its name, mostly in examples of commands.
    """

    references: dict[str, list[int]]
    pages: list[str]


def mentions(root: Path, name: str) -> Mentions:
    """Return what refers to a service, and not the lines in which its name is only a word."""
    command = [
        "git",
        "grep",
        "--untracked",
        "--line-number",
        "-I",
        "--extended-regexp",
        "-e",
        _reference(name),
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if not line.startswith(_NOT_LISTED)]
    pages: dict[str, None] = {}
    references: dict[str, list[int]] = {}
    for line in found:
        file, number, text = line.split(":", 2)
        if file.endswith(".md"):
            pages[file] = None
        elif not text.lstrip().startswith("#"):
            references.setdefault(file, []).append(int(number))
    return Mentions(references, list(pages))


def _reference(name: str) -> str:
    """Return a pattern for a name as a part of a path or host, a value, a module or a variable."""
    end = "([^A-Za-z0-9_-]|$)"
    return (
        f"""[/"'`]{name}{end}|(^|[^A-Za-z_])(-m|import|from|name:) {name}{end}"""
        f"|(^|[^A-Z_]){name.upper()}_URL"
    )


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(
            f"{root}: git cannot read the state of the files, and what is removed could not be restored:"
            f" {done.stderr.strip()}"
        )
    return [entry for entry in done.stdout.split("\0") if entry]
