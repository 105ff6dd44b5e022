"""The configuration that the manifests give to each pod, against the service's settings."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .manifests import (
    OVERLAYS,
    PODS,
    REGISTRY,
    SERVICES,
    SETTINGS,
    WITH_DATABASE,
    WORKERS,
    Document,
    cluster_variables,
    document_of,
    settings_of,
    variables_of,
)

# Of the right form, for those keys of a Secret that a service reads.
SECRETS = {
    "DATABASE_URL": f"postgresql://service:{secrets.token_hex()}@postgres.data/service",
    "BROKER_URL": f"redis://:{secrets.token_hex()}@broker.data:6379/0",
    "REDIS_URL": f"redis://:{secrets.token_hex()}@redis.data:6379/0",
}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_of_the_service(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    known = variables_of(SETTINGS[service])
    spec = document_of(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    given = set(settings_of(documents[overlay], service))
    given |= {variable["name"].removesuffix("_FILE") for variable in spec["containers"][0]["env"]}
    # The cluster's variables are the same for all, and some have no use for all of them.
    of_others = {variable for settings in SETTINGS.values() for variable in variables_of(settings)}
    assert given - known <= cluster_variables(overlay) & of_others


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("pod", PODS)
def test_the_service_accepts_the_configuration_of_its_pod(
    documents: dict[str, list[Document]], tmp_path: Path, overlay: str, pod: str
) -> None:
    service = WORKERS.get(pod, pod)
    spec = document_of(documents[overlay], "Deployment", pod)["spec"]["template"]["spec"]
    environ = dict(settings_of(documents[overlay], service))
    for variable in spec["containers"][0]["env"]:
        name = variable["name"].removesuffix("_FILE")
        file = tmp_path / name
        file.write_text(SECRETS.get(name) or signing_key())
        environ[variable["name"]] = str(file)

    started = subprocess.run(
        [sys.executable, "-m", REGISTRY[service].name, "config"],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert started.returncode == 0, started.stderr
    assert "DB_MAX_CONNECTIONS" in started.stdout or service not in WITH_DATABASE


def signing_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
