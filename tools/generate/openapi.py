"""Write `docs/openapi/SERVICE.json` for every service, or check them.

python -m tools.generate.openapi           write them
python -m tools.generate.openapi --check   exit with 1 when one is stale, and name it
"""

import argparse
import subprocess
import sys

from ..workspace import ROOT, fleet

FOLDER = ROOT / "docs" / "openapi"


def document(service: str) -> str:
    """Return a service's OpenAPI document."""
    command = [sys.executable, "-m", service, "openapi"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when one is stale")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {FOLDER / f"{m.name}.json": document(m.name) for m in fleet()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if arguments.check:
            sys.stderr.write(f"{name} is stale: run `just openapi`\n")
        else:
            path.write_text(made[path], "utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
