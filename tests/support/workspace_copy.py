"""A copy of this workspace as a repository of its own, and its commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.registry import ROOT, read

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
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    git(root, "init", "--quiet")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "state")


def run(root: Path, module: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the copy, without the network."""
    env = {**os.environ, "UV_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("VIRTUAL_ENV", None)
    if path:
        env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", f"tools.{module}", *arguments],
        cwd=root, env=env, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
