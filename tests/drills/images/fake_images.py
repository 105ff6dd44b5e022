"""Substitutes for the public images, under their public names, for a Docker without a registry."""

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
# Targets of the Dockerfile, each with the file that has the public name and version.
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
    """Return the name of an image in the deployment, with its version."""
    file, pattern = _NAMES[target]
    found = re.search(rf"(?:image: |=)({pattern})", (_DEPLOY / file).read_text("utf-8"))
    assert found is not None, f"{file} has no image {target}"
    return found[1]


def provide(docker: Docker, *targets: str) -> None:
    """Build the substitutes that a private engine lacks; other engines pull the public images."""
    if not docker.engine.is_private:
        return
    with locked("fake-images"):
        made = _digest()
        for target in targets:
            name = public_name(target)
            label = docker.tried("inspect", "--format", '{{index .Config.Labels "fake-image"}}', name)
            if label.stdout.strip() != made:
                _make(docker, target, name, made)


def compose_program(docker: Docker) -> list[str]:
    """Return the command of Docker Compose v2; a private engine gets it from Debian trixie."""
    if not docker.engine.is_private:
        return ["docker", "compose"]
    program = STATE / "docker-compose"
    with locked("fake-images"):
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
        docker.build(context, name, "--target", target, "--label", f"fake-image={digest}")


def _base(docker: Docker) -> None:
    """Import a minimal Debian, made by mmdebstrap, unless it exists."""
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
        # Builds use the certificate authorities of this machine.
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
