"""The budget of connections to PostgreSQL: shares, and fleets that exceed it."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from tools.registry import ROOT, Service

from .generation import MANIFESTS, change, generate, tree

_ENTRY = "services/shop/pyproject.toml"
_ENTRY_FIELD = "replicas = 2"
_CLUSTER = "deploy/kubernetes/overlays/production/cluster.env"
_SETTINGS = "deploy/kubernetes/shop/settings.env"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (_ENTRY, _ENTRY_FIELD, "max_pods = 40\nconnections = 4",
         r"92 connections .* are too few for all instances \(directory 11, shop 41\) .* lower `max_pods`"),
        (_ENTRY, _ENTRY_FIELD, "connections = 9", r"are too few .* in services/directory/pyproj"),
        (_ENTRY, _ENTRY_FIELD, "min_pods = 12", rf"{_ENTRY}: .*min_pods: 12 is more than max_pods \(10\)"),
        (_ENTRY, "GREETING =", "DB_MAX_CONNECTIONS =", r"set `connections` instead"),
        ("pyproject.toml", "max_connections = 100", "max_connections = 40", r"32 connections .* are too few"),
        ("pyproject.toml", "max_connections = 100", 'max_connections = "many"',
         r"pyproject.toml: \[tool.starkeel.database\]: Expected `int`, got `str` - at `\$.max_conn"),
        (_CLUSTER, "JWT_ISSUER", "DB_MAX_CONNECTIONS=5\nJWT_ISSUER",
         r"overlays/production: the services may open 110 connections \(directory 11 pods x DB_MAX_CONN.*=5"),
        (_SETTINGS, "# Settings", "WORKERS=8\n# Settings",
         r"shop has WORKERS=8, more than DB_MAX_CONNECTIONS=4: lower WORKERS, or raise `connections`"),
        (_SETTINGS, "# Settings", "DB_MIN_CONNECTIONS=9\n# Settings",
         r"shop has DB_MIN_CONNECTIONS=9, more than DB_MAX_CONNECTIONS=4"),
        (_SETTINGS, "# Settings", "WORKERS=two\n# Settings",
         r"settings of shop: WORKERS=two is not a whole number"),
    ],
)  # fmt: skip
def test_a_fleet_that_opens_too_many_connections_is_refused(
    workspace: Path, file: str, old: str, new: str, message: str
) -> None:
    change(workspace, file, old, new)
    before = tree(workspace)

    for options in ([], ["--check"]):
        refused = generate(workspace, *options)
        assert refused.returncode == os.EX_CONFIG
        assert re.search(message, refused.stderr), refused.stderr
    assert tree(workspace) == before


def test_services_share_the_connections_that_others_leave(workspace: Path) -> None:
    change(workspace, "services/shop/pyproject.toml", "replicas = 2", "connections = 6")

    assert generate(workspace).returncode == 0

    # 92, less 11 pods with 6 each, for 11 pods.
    own = workspace / MANIFESTS
    assert "DB_MAX_CONNECTIONS=2\n" in (own / "directory/generated/settings.env").read_text()
    assert "DB_MAX_CONNECTIONS=6\nDB_MIN_CONNECTIONS=3\n" in (
        (own / "shop/generated/settings.env").read_text()
    )
    page = (workspace / "docs/services.md").read_text()
    assert "| Kubernetes, production | `directory` | 11 | 1 | 2 | 22 |" in page
    assert "| Kubernetes, production | **all** | 22 | | | **88** of 92 |" in page


def test_the_guide_has_the_defaults_of_the_registry() -> None:
    text = (ROOT / "docs/fleet.md").read_text("utf-8")
    documented = {
        name: int(value) for name, value in re.findall(r"^(\w+) = .*\((\d+)\)$", text, re.MULTILINE)
    }
    fields = {field.name: field.default for field in msgspec.structs.fields(Service)}

    assert documented == {
        name: fields[name]
        for name in (
            "replicas", "max_replicas", "min_pods", "max_pods",
            "worker_replicas", "min_worker_pods", "max_worker_pods",
        )
    }  # fmt: skip
