"""Create the missing secrets of a compose stack, one file each: `make_secrets.py FOLDER`."""

import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

# generated from the registry: owners of databases
SERVICES = (
    "accounts",
    "orders",
)
# end of the generated part sha256:dbcb6f0cc02c07d5


def main(folder: Path) -> None:
    """Create the missing files."""
    # Containers read the files as other users; the folder keeps out other users of this machine.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("postgres-password", "redis-password", "broker-password", "grafana-password"):
        _keep(folder / name, secrets.token_urlsafe(24))
    for service in SERVICES:
        password = _keep(folder / f"{service}-database-password", secrets.token_urlsafe(24))
        url = f"postgresql://{service}:{password}@postgres:5432/{service}"
        _keep(folder / f"{service}-database-url", url)
    password = _keep(folder / "redis-password", "")
    _keep(folder / "redis-url", f"redis://:{password}@redis:6379/0")
    settings = f'requirepass {password}\nsave ""\nappendonly no\ndir /data\nmaxmemory 128mb\n'
    _keep(folder / "redis-config", settings)
    password = _keep(folder / "broker-password", "")
    _keep(folder / "broker-url", f"redis://:{password}@broker:6379/0")
    # Events are kept: on disk, and never evicted for others.
    settings = (
        f'requirepass {password}\nsave ""\nappendonly yes\nappendfsync everysec\ndir /data\n'
        "maxmemory 512mb\nmaxmemory-policy noeviction\n"
    )
    _keep(folder / "broker-config", settings)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _keep(folder / "signing-key", key.decode())


def _keep(path: Path, content: str) -> str:
    """Write a file unless it exists, and return its content."""
    if not path.exists():
        path.write_text(content, encoding="utf-8")
        path.chmod(0o644)
    return path.read_text("utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
