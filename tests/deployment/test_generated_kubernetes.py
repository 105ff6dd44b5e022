"""Kubernetes manifests generated for other registries than this workspace's."""

import os
import shutil
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from tools.kubectl import kustomize
from tools.registry import ROOT, RegistryError, read

from .generation import INVENTORY, MANIFESTS, change, generate, register, tree
from .manifests import (
    OVERLAYS,
    REGISTRY,
    VERSIONS,
    Document,
    document_of,
    expected_documents,
    peers,
    pods_of,
    settings_of,
    validate,
)
from .pod_security import violated_controls

WORKER = """[tool.starkeel]
port = 3003
admin_port = 9093
max_pods = 3
"""


def rendered(kubectl: Path, workspace: Path, overlay: str) -> list[Document]:
    text = kustomize(kubectl, workspace / MANIFESTS / "overlays" / overlay)
    return list(yaml.safe_load_all(text))


def test_a_service_is_added_to_every_overlay_and_removed_without_a_trace(
    kubectl: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = tree(workspace)
    register(workspace, "inventory", INVENTORY)
    register(workspace, "night_work", WORKER)
    assert "deploy/kubernetes/inventory/kustomization.yaml is stale" in generate(workspace, "--check").stderr

    assert generate(workspace).returncode == 0

    assert generate(workspace, "--check").returncode == 0
    registered = len(list(workspace.glob("services/*")))
    for overlay in OVERLAYS:
        documents = rendered(kubectl, workspace, overlay)
        assert len(documents) == expected_documents(overlay, registered, workers=0)
        assert [violated_controls(pod) for pod in pods_of(documents)] == [set()] * registered
        check_schemas(kubectl, workspace, overlay, tmp_path_factory.mktemp(overlay))
        check_inventory(documents)
        check_worker(documents)
    routes = document_of(documents, "Ingress", "api")["spec"]["rules"][0]["http"]["paths"]
    assert {"/api/stock": "inventory"}.items() <= {
        route["path"]: route["backend"]["service"]["name"] for route in routes
    }.items()
    assert settings_of(documents, "shop")["ALLOWED_HOSTS"].endswith(",shop,inventory,night-work")

    shutil.rmtree(workspace / "services/inventory")
    shutil.rmtree(workspace / "services/night_work")
    assert generate(workspace).returncode == 0
    assert tree(workspace) == before


def check_schemas(kubectl: Path, workspace: Path, overlay: str, folder: Path) -> None:
    path = folder / "manifests.yaml"
    path.write_text(kustomize(kubectl, workspace / MANIFESTS / "overlays" / overlay))
    result = validate(path, VERSIONS[0])
    assert result.returncode == 0, result.stdout + result.stderr


def check_inventory(documents: list[Document]) -> None:
    """A database, no Redis; it calls shop, and the issuer of tokens."""
    pod = document_of(documents, "Deployment", "inventory")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == image_of(documents, "shop").replace("/shop:", "/inventory:")
    assert [variable["name"] for variable in pod["containers"][0]["env"]] == ["DATABASE_URL_FILE"]
    assert [container["args"] for container in pod["initContainers"]] == [["migrate"]]
    settings = settings_of(documents, "inventory")
    assert settings["SHOP_URL"] == "http://shop:3000"
    assert settings["JWT_JWKS_URL"] == "http://directory:3000/.well-known/jwks.json"
    assert settings["JWT_ISSUER"]
    assert peers(documents, "inventory", "egress", 3000) == {"directory", "shop"}
    assert peers(documents, "inventory", "egress", 5432) == {"namespace/data"}
    assert peers(documents, "inventory", "egress", 6379) == set()
    assert peers(documents, "inventory", "ingress", 3000) == {"namespace/ingress"}
    assert "inventory" in peers(documents, "shop", "ingress", 3000)
    assert "inventory" in peers(documents, "directory", "ingress", 3000)


def image_of(documents: list[Document], name: str) -> str:
    pod = document_of(documents, "Deployment", name)["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


def check_worker(documents: list[Document]) -> None:
    """Nothing that the others have, and a name that is none in Kubernetes."""
    pod = document_of(documents, "Deployment", "night-work")["spec"]["template"]["spec"]
    assert image_of(documents, "night-work") == image_of(documents, "shop").replace("/shop:", "/night_work:")
    assert "initContainers" not in pod
    assert [volume["name"] for volume in pod["volumes"]] == ["shared-memory"]
    assert "DB_MAX_CONNECTIONS" not in settings_of(documents, "night-work")
    assert peers(documents, "night-work", "ingress", 3000) == set()
    assert peers(documents, "night-work", "ingress", 9090) == {"namespace/monitoring"}
    assert peers(documents, "night-work", "egress", 4318) == {"namespace/monitoring"}


def test_components_include_an_added_service(kubectl: Path, workspace: Path) -> None:
    register(workspace, "inventory", INVENTORY)
    register(workspace, "night_work", WORKER)
    assert generate(workspace).returncode == 0
    names = sorted(path.name for path in (workspace / MANIFESTS / "components").iterdir())
    listed = ", ".join(f"../../components/{name}" for name in names)
    overlay = workspace / MANIFESTS / "overlays/production/kustomization.yaml"
    overlay.write_text(f"{overlay.read_text()}components: [{listed}]\n")

    documents = rendered(kubectl, workspace, "production")

    assert settings_of(documents, "inventory")["DB_PGBOUNCER"] == "true"
    assert "DB_PGBOUNCER" not in settings_of(documents, "night-work")
    assert settings_of(documents, "night-work")["HOST"] == "::"
    assert peers(documents, "inventory", "egress", 6432) == {"namespace/data"}
    assert peers(documents, "night-work", "egress", 6432) == set()


def test_patches_and_settings_of_the_team_take_effect_and_are_kept(kubectl: Path, workspace: Path) -> None:
    patch = """patches:
  - target: {kind: Deployment, name: shop}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/resources/limits/memory, value: 512Mi}
"""
    own = workspace / MANIFESTS / "shop"
    (own / "kustomization.yaml").write_text((own / "kustomization.yaml").read_text() + patch)
    (own / "settings.env").write_text("LOG_LEVEL=warning\nJWT_AUDIENCE=shop\nSHUTDOWN_GRACE_SECONDS=40\n")
    kept = (own / "kustomization.yaml").read_text()

    assert generate(workspace).returncode == 0

    assert (own / "kustomization.yaml").read_text() == kept
    documents = rendered(kubectl, workspace, "production")
    pod = document_of(documents, "Deployment", "shop")["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "512Mi"
    assert pod["terminationGracePeriodSeconds"] == 50
    settings = settings_of(documents, "shop")
    assert (settings["LOG_LEVEL"], settings["JWT_AUDIENCE"]) == ("warning", "shop")
    assert settings["DIRECTORY_URL"] == "http://directory:3000"


def test_images_and_lists_of_an_overlay_keep_the_values_of_the_team(kubectl: Path, workspace: Path) -> None:
    file = f"{MANIFESTS}/overlays/production/kustomization.yaml"
    (line,) = [each for each in (workspace / file).read_text().splitlines() if "name: starkeel/shop," in each]
    # As `kustomize edit set image` writes it.
    image = "- name: starkeel/shop\n    newName: eu.example.com/shop/shop\n    newTag: 2.0.1"
    change(workspace, file, line.strip(), image)
    own = "configMapGenerator:\n  - {name: banner, literals: [TEXT=hi]}\n"
    change(workspace, file, "configMapGenerator:\n", own)
    assert generate(workspace, "--check").returncode == 0
    register(workspace, "inventory", INVENTORY)

    assert generate(workspace).returncode == 0

    documents = rendered(kubectl, workspace, "production")
    images = {pod["containers"][0]["name"]: pod["containers"][0]["image"] for pod in pods_of(documents)}
    assert images["shop"] == "eu.example.com/shop/shop:2.0.1"
    assert images["inventory"] == images["directory"].replace("/directory:", "/inventory:")
    assert settings_of(documents, "banner") == {"TEXT": "hi"}


@pytest.mark.parametrize(
    ("file", "old", "new", "where"),
    [
        ("deploy/kubernetes/shop/generated/scaling.yaml", "Utilization: 70", "Utilization: 50", ""),
        ("deploy/kubernetes/fleet/kustomization.yaml", "  - ../shop\n", "", ""),
        ("deploy/compose.yaml", "replicas: 2", "replicas: 3", ", in the part 'services of compose'"),
        ("deploy/kubernetes/overlays/production/ingress.yaml", "path: /api/sales,", "path: /sales,",
         ", in the part 'routes of the ingress'"),
    ],
)  # fmt: skip
def test_an_edit_of_what_is_generated_is_reported_and_discarded_only_on_request(
    workspace: Path, file: str, old: str, new: str, where: str
) -> None:
    path = workspace / file
    original = path.read_text()
    change(workspace, file, old, new)
    register(workspace, "inventory", INVENTORY)
    before = tree(workspace)

    checked, refused = generate(workspace, "--check"), generate(workspace)

    message = f"{file} has changes that generation would discard{where}: move them (docs/fleet.md), then run"
    assert (checked.returncode, refused.returncode) == (1, os.EX_DATAERR)
    assert message in checked.stderr
    assert message in refused.stderr
    assert "`just fleet --force`" in refused.stderr
    assert tree(workspace) == before
    shutil.rmtree(workspace / "services/inventory")
    assert generate(workspace, "--force").returncode == 0
    assert path.read_text() == original


def test_files_of_the_team_of_a_service_that_is_gone_are_not_removed(workspace: Path) -> None:
    register(workspace, "inventory", INVENTORY)
    assert generate(workspace).returncode == 0
    own = workspace / MANIFESTS / "inventory"
    (own / "settings.env").write_text("LOG_LEVEL=warning\n")
    (own / "volume.yaml").write_text("kind: PersistentVolumeClaim\n")
    shutil.rmtree(workspace / "services/inventory")
    before = tree(workspace)

    refused = generate(workspace)

    assert refused.returncode == os.EX_CONFIG
    assert refused.stderr == (
        "deploy/kubernetes/inventory: there is no service 'inventory', and these files have changes or are"
        " yours: settings.env, volume.yaml: move what you need, then remove the folder"
        " (`git rm -r deploy/kubernetes/inventory`)\n"
    )
    assert tree(workspace) == before
    shutil.rmtree(own)
    assert generate(workspace).returncode == 0


def test_nothing_is_written_if_one_file_cannot_be_written(workspace: Path) -> None:
    register(workspace, "inventory", INVENTORY)
    before = tree(workspace)
    # A folder in the place of the last file that is written.
    obstacle = workspace / "docs/.services.md.draft"
    obstacle.mkdir()

    failed = generate(workspace)

    assert failed.returncode != 0
    obstacle.rmdir()
    assert tree(workspace) == before


_OVERLAY = "overlays/production/kustomization.yaml"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            _OVERLAY,
            "# end of the generated part\n# generated",
            "# generated",
            "a marker line has no counterpart",
        ),
        (_OVERLAY, "images:\n", "images: [\n", "images: its generated part is not"),
        (_OVERLAY, "images:\n", "images:\n  - 7\n", "`images` is not a list of"),
        ("overlays/production/ingress.yaml", "routes of the ingress", "routes", "nothing generates 'routes'"),
    ],
)
def test_a_damaged_part_is_reported(workspace: Path, file: str, old: str, new: str, message: str) -> None:
    change(workspace, f"{MANIFESTS}/{file}", old, new)
    before = tree(workspace)

    refused = generate(workspace)

    assert refused.returncode == os.EX_CONFIG
    assert f"{MANIFESTS}/{file}: " in refused.stderr
    assert message in refused.stderr
    assert tree(workspace) == before


def taken_names() -> set[str]:
    """Return what is not a service, although it is where services are."""
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"].keys()
    folders = {path.name for path in (ROOT / MANIFESTS).iterdir()}
    own = {service.name for service in REGISTRY.values()}
    # Others cannot name a Python package either.
    return {name for name in (compose | folders) - own if name.isidentifier()}


@pytest.mark.parametrize("name", sorted(taken_names()))
def test_a_service_cannot_have_the_name_of_something_else(workspace: Path, name: str) -> None:
    register(workspace, name, INVENTORY)

    with pytest.raises(RegistryError, match=rf"services/{name}: '{name}' is not a service in deploy/"):
        read(workspace)
