"""Grafana dashboards, generated from Python declarations."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from .dashboard import built
from .database import DATABASE
from .fleet import FLEET
from .runtime import RUNTIME
from .service import SERVICE


def files(root: Path) -> dict[Path, str | None]:
    """Return the dashboards by path, and `None` for those that are no longer generated."""
    folder = root / "deploy" / "observability" / "grafana" / "dashboards"
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return dict.fromkeys(folder.glob("*.json")) | {
        folder / f"{dashboard.uid}.json": encoder.encode(built(dashboard)) + "\n"
        for dashboard in (FLEET, SERVICE, DATABASE, RUNTIME)
    }
