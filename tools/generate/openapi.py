"""The OpenAPI document of every service, and the AsyncAPI document of those with events.

They are `docs/openapi/SERVICE.json` and `docs/asyncapi/SERVICE.json`.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
    kinds = {
        "openapi": [member.name for member in members],
        "asyncapi": [member.name for member in members if member.name in have_events],
    }
    found: dict[Path, str | None] = {
        path: None
        for kind, names in kinds.items()
        for path in sorted((root / "docs" / kind).rglob("*.json"))
        if path.stem not in names
    }
    documents = [(name, kind) for kind, names in kinds.items() for name in names]
    # Each is printed by a process, most of whose time is the import of the service.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(_document, *zip(*documents, strict=True)))
    return found | {
        root / "docs" / kind / f"{name}.json": text
        for (name, kind), text in zip(documents, texts, strict=True)
    }


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
