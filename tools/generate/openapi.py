"""The OpenAPI document of every service, and the AsyncAPI document of those with events.

They are `docs/openapi/SERVICE.json` and `docs/asyncapi/SERVICE.json`.
"""

import os
import subprocess
import sys
from pathlib import Path

from ..registry import ROOT, read
from ..service_error import ServiceError
from ..workspace import fleet


def files(root: Path) -> dict[Path, str | None]:
    """Return the documents by path; `None` for one whose service is gone, also in the released ones.

    Raises:
        ServiceError: The code of a service fails.
    """
    members = fleet()
    have_events = {service.name for service in read() if "broker" in service.needs}
    found: dict[Path, str | None] = {}
    for kind, names in (
        ("openapi", [member.name for member in members]),
        ("asyncapi", [member.name for member in members if member.name in have_events]),
    ):
        folder = root / "docs" / kind
        found |= {path: None for path in sorted(folder.rglob("*.json")) if path.stem not in names}
        found |= {folder / f"{name}.json": _document(name, kind) for name in names}
    return found


def _document(service: str, kind: str) -> str:
    command = [sys.executable, "-m", "tools.describe", service, kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == os.EX_SOFTWARE:
        raise ServiceError(done.stderr.rstrip())
    if done.returncode:
        reason = done.stderr.strip() or "nothing is reported"
        raise ServiceError(
            f"services/{service} cannot be described: `python -m {service} {kind}` exits with"
            f" {done.returncode}: {reason}"
        )
    sys.stderr.write(done.stderr)
    return done.stdout
