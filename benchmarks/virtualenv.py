"""Virtual environments of the contenders that are not in the workspace's own."""

import shutil
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[1] / ".data" / "benchmarks"


def installed_python(name: str, packages: tuple[str, ...]) -> str:
    """Return the interpreter of an environment with these packages; install them on the first call."""
    home = ENVIRONMENTS / name
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        (home / "complete").touch()
    return str(python)
