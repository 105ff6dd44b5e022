"""Grafana dashboards, generated from Python declarations."""

from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ...registry import Service
from .dashboard import built
from .database import DATABASE
from .fleet import fleet
from .runtime import RUNTIME
from .service import service
from .work import WORK


def files(root: Path, services: Sequence[Service]) -> dict[Path, str | None]:
    """Return the dashboards by path, and `None` for those that are no longer generated."""
    folder = root / "deploy" / "observability" / "grafana" / "dashboards"
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return dict.fromkeys(folder.glob("*.json")) | {
        folder / f"{dashboard.uid}.json": encoder.encode(built(dashboard)) + "\n"
        for dashboard in (fleet(services), service(services), DATABASE, RUNTIME, WORK)
    }
