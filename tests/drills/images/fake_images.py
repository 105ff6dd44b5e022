"""Stand-ins of the public images, under their public names, for a Docker that reaches no registry."""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .docker import Docker
from .docker_engine import STATE, locked

_SOURCES = Path(__file__).with_name("fake_image_files")
_DEPLOY = Path(__file__).parents[3] / "deploy"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# Target of the stand-ins' Dockerfile: where the public name with its version stands.
_NAMES = {
    "uv": ("Dockerfile", r"ghcr\.io/astral-sh/uv:[\w.-]+"),
    "debian": ("Dockerfile", r"debian:trixie-slim"),
    "distroless-debug": ("Dockerfile", r"gcr\.io/distroless/python3-debian13:debug"),
    "distroless-nonroot": ("Dockerfile", r"gcr\.io/distroless/python3-debian13:nonroot"),
    "postgres": ("compose.yaml", r"postgres:[\w.-]+"),
    "valkey": ("compose.yaml", r"valkey/valkey:[\w.-]+"),
    "haproxy": ("compose.yaml", r"haproxy:[\w.-]+"),
    "prometheus": ("compose.yaml", r"prom/prometheus:[\w.-]+"),
    "alertmanager": ("compose.yaml", r"prom/alertmanager:[\w.-]+"),
}


def public_name(target: str) -> str:
    """Return the name that the deployment has for an image, version included."""
    file, pattern = _NAMES[target]
    found = re.search(rf"(?:image: |=)({pattern})", (_DEPLOY / file).read_text("utf-8"))
    assert found is not None, f"{file} names no {target}"
    return found[1]


def provide(docker: Docker, *targets: str) -> None:
    """Make the stand-ins that this engine does not have yet; a given engine pulls the real ones itself."""
    if not docker.engine.is_ours:
        return
    with locked("stand-ins"):
        made = _digest()
        for target in targets:
            name = public_name(target)
            label = docker.tried("inspect", "--format", '{{index .Config.Labels "stand-in"}}', name)
            if label.stdout.strip() != made:
                _make(docker, target, name, made)


def compose_program(docker: Docker) -> list[str]:
    """Return the command of Compose v2, which Debian's stable release has only for later ones."""
    if not docker.engine.is_ours:
        return ["docker", "compose"]
    program = STATE / "docker-compose"
    with locked("stand-ins"):
        if not program.exists():
            _base(docker)
            with tempfile.TemporaryDirectory() as out:
                docker.build(_SOURCES, "", "--target", "compose", "--output", f"type=local,dest={out}")
                shutil.copy2(Path(out) / "docker-compose", program)
    return [str(program)]


def _make(docker: Docker, target: str, name: str, digest: str) -> None:
    _base(docker)
    with tempfile.TemporaryDirectory() as made:
        context = Path(made) / "context"
        shutil.copytree(_SOURCES, context)
        if target == "uv":
            version = name.rpartition(":")[2]
            subprocess.run(
                ["uv", "pip", "install", "--quiet", "--target", Path(made) / "uv", f"uv=={version}"],
                check=True,
            )
            shutil.copy2(Path(made) / "uv/bin/uv", context / "uv")
        docker.build(context, name, "--target", target, "--label", f"stand-in={digest}")


def _base(docker: Docker) -> None:
    """Have a minimal Debian, as the root file system that mmdebstrap makes."""
    name = "starkeel-test/trixie"
    if docker.tried("inspect", name).returncode == 0:
        return
    with tempfile.TemporaryDirectory(dir=STATE) as made:
        archive = Path(made) / "trixie.tar"
        packages = "--include=ca-certificates"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", packages, "trixie", archive],
            check=True,
            timeout=600,
        )
        docker("import", archive, f"{name}:plain")
        # What a build fetches it fetches by the authorities of this machine.
        shutil.copy2(_AUTHORITIES, Path(made) / "authorities.crt")
        archive.unlink()
        lines = [f"FROM {name}:plain", f"COPY authorities.crt {_AUTHORITIES}"]
        lines += ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        (Path(made) / "Dockerfile").write_text("\n".join(lines) + "\n")
        docker.build(Path(made), name)


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
