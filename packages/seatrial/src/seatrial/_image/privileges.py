"""Means of an intruder in a container: user, shell, package manager, privileged programs."""

from collections.abc import Iterable
from typing import Final

from .._static.findings import Findings
from .model import Image
from .programs import PACKAGE_MANAGERS, SHELLS, named_programs

_SHOWN: Final = 10
_SETUID_SETGID: Final = 0o6000


def user(image: Image, findings: Findings) -> None:
    """Judge the user of the first process."""
    given = image.config.user
    name = given.partition(":")[0]
    if not name or name in {"root", "0"}:
        findings.bad(f"the process runs as root (`USER` is {given!r})")
    elif not (name.isascii() and name.isdecimal()):
        findings.bad(f"`USER` is {given!r}: `runAsNonRoot` of Kubernetes requires a number")
    else:
        findings.judge(bool(name.strip("0")), f"`USER` is {given}", f"`USER` is {given}, which is root")


def shell(image: Image, findings: Findings) -> None:
    """Judge whether there is a shell."""
    _absent(named_programs(image, SHELLS), "shell", findings)


def package_manager(image: Image, findings: Findings) -> None:
    """Judge whether there is a program that installs others."""
    found = list(named_programs(image, PACKAGE_MANAGERS))
    # `python -m pip` works without the program.
    found += [f"/{path}" for path, _ in image.tree.walk() if path.endswith("-packages/pip/__main__.py")]
    _absent(found, "package manager", findings)


def privileged_programs(image: Image, findings: Findings) -> None:
    """Judge whether a program gives privileges to the process that executes it."""
    found = [
        f"/{path} ({_privilege(file.mode, has_capabilities=file.has_capabilities)})"
        for path, file in image.tree.walk()
        if file.is_program and (file.mode & _SETUID_SETGID or file.has_capabilities)
    ]
    _absent(found, "program with setuid, setgid or capabilities", findings)


def _privilege(mode: int, *, has_capabilities: bool) -> str:
    return "capabilities" if has_capabilities else "setuid" if mode & 0o4000 else "setgid"


def _absent(found: Iterable[str], name: str, findings: Findings) -> None:
    paths = sorted(found)
    if not paths:
        findings.good(f"no {name}")
    for path in paths[:_SHOWN]:
        findings.bad(f"{name}: {path}")
    if len(paths) > _SHOWN:
        findings.bad(f"and {len(paths) - _SHOWN} more")
