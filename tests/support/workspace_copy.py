"""A copy of this workspace as a repository of its own, and its commands."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.registry import ROOT, read
from tools.scratch_workspace import copy_with_bytecode

ISSUERS = [service.name for service in read() if "signing key" in service.needs]


def listed(root: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(found.split("\0")) if name and (root / name).is_file())


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in listed(root)}


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "core.hooksPath=/dev/null"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def copied(root: Path) -> Path:
    """Copy this workspace into a new repository."""
    for name in listed(ROOT):
        copy_with_bytecode(ROOT / name, root / name)
    git(root, "init", "--quiet")
    commit(root)
    return root


def create_environment(root: Path) -> None:
    """Create the virtual environment of a copy, without the network.

    Its packages are links to the same files as here, so their bytecode is valid, too: each process would
    compile a thousand modules otherwise.
    """
    command = [os.environ.get("UV", "uv"), "sync", "--frozen", "--offline", "--quiet"]
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, cwd=root, env=env, check=True)
    ours, copy = (
        path / ".venv" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix) for path in (ROOT, root)
    )
    for compiled in ours.rglob("*.pyc"):
        target = copy / compiled.relative_to(ours)
        if not target.exists() and target.parent.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, target)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "state")


def run(root: Path, module: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the copy, without the network."""
    env = {**os.environ, "UV_OFFLINE": "1"}
    env.pop("VIRTUAL_ENV", None)
    if path:
        env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", f"tools.{module}", *arguments],
        cwd=root, env=env, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
