"""Write the program that an image runs: `entry.py SERVICE PATH`."""

import sys
from pathlib import Path

_PROGRAM = """\
#!/app/.venv/bin/python
from starkeel_server import run

from {service} import SERVICE

run(SERVICE)
"""


def main(service: str, path: Path) -> None:
    """Write the program under the same name in every image: an ENTRYPOINT cannot contain a build argument."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PROGRAM.format(service=service), encoding="utf-8")
    path.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
