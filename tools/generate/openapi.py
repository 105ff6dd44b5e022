"""Write `docs/openapi/SERVICE.json` for every service, or check them.

python -m tools.generate.openapi           write them
python -m tools.generate.openapi --check   exit with 1 if a file is stale
"""

import subprocess
import sys

from ..workspace import ROOT, fleet
from .files import parser, write


def document(service: str) -> str:
    """Return a service's OpenAPI document."""
    command = [sys.executable, "-m", service, "openapi"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """Write or check the files; return the exit code."""
    given = parser(__doc__).parse_args()
    folder = ROOT / "docs" / "openapi"
    files = {folder / f"{member.name}.json": document(member.name) for member in fleet()}
    return write(files, recipe="openapi", check=given.check)


if __name__ == "__main__":
    sys.exit(main())
