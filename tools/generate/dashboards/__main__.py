"""Write Grafana's dashboards, or check them.

python -m tools.generate.dashboards           write them
python -m tools.generate.dashboards --check   exit with 1 if a file is stale
"""

import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ...workspace import ROOT
from ..files import parser, write
from .dashboard import built
from .database import DATABASE
from .fleet import FLEET
from .runtime import RUNTIME
from .service import SERVICE

FOLDER = ROOT / "deploy" / "observability" / "grafana" / "dashboards"


def main() -> int:
    """Write or check the files; return the exit code."""
    given = parser(__doc__).parse_args()
    encoder = JSONEncoder(sort_keys=True, indent=2)
    files = {
        FOLDER / f"{dashboard.uid}.json": encoder.encode(built(dashboard)) + "\n"
        for dashboard in (FLEET, SERVICE, DATABASE, RUNTIME)
    }
    obsolete = [path for path in FOLDER.glob("*.json") if path not in files]
    return write(files, recipe="dashboards", check=given.check, obsolete=obsolete)


if __name__ == "__main__":
    sys.exit(main())
