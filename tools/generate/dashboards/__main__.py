"""Write Grafana's dashboards, or check them.

python -m tools.generate.dashboards           write them
python -m tools.generate.dashboards --check   exit with 1 when one is stale, and name it
"""

import argparse
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from ...workspace import ROOT
from .database import DATABASE
from .fleet import FLEET
from .parts import made
from .runtime import RUNTIME
from .service import SERVICE

BOARDS = (FLEET, SERVICE, DATABASE, RUNTIME)
FOLDER = ROOT / "deploy" / "observability" / "grafana" / "dashboards"


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when one is stale")
    encoder = JSONEncoder(sort_keys=True, indent=2)
    files = {FOLDER / f"{board.uid}.json": encoder.encode(made(board)) + "\n" for board in BOARDS}
    if not parser.parse_args().check:
        for path, text in files.items():
            path.write_text(text, "utf-8")
        return 0
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [path for path in FOLDER.glob("*.json") if path not in files]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what `just dashboards` writes\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
