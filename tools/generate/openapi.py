"""The OpenAPI document of every service, `docs/openapi/SERVICE.json`."""

import subprocess
import sys
from pathlib import Path

from ..workspace import fleet


def files(root: Path) -> dict[Path, str | None]:
    """Return the documents by path."""
    return {root / "docs" / "openapi" / f"{member.name}.json": _document(member.name) for member in fleet()}


def _document(service: str) -> str:
    command = [sys.executable, "-m", service, "openapi"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
