"""Contents, size and reproducibility of the images."""

import gzip
import io
import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from packaging.markers import Marker

from ...support.report import report
from .conftest import ROOT, SERVICES
from .docker import Docker

BUDGET_BYTES = 45_000_000
# Dependencies that no service imports; the Dockerfile gives the reasons.
PRUNED = {"polyfactory", "faker", "rich", "rich-click", "pygments", "markdown-it-py", "mdurl", "pycparser"}
PRUNED |= {"click", "httpx", "httpcore", "certifi", "googleapis-common-protos", "tzdata"}
_MACHINE = {"python_full_version": "3.13.5", "python_version": "3.13", "sys_platform": "linux"}


@pytest.fixture(scope="module")
def saved(
    docker: Docker, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Archive of each image."""
    folder = tmp_path_factory.mktemp("saved")
    for service, name in images.items():
        docker("save", "--output", folder / f"{service}.tar", name)
    return {service: folder / f"{service}.tar" for service in images}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_small(saved: dict[str, Path], service: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [len(gzip.compress(layer, 6)) for layer in _layers(saved[service])]
    layers = [round(size / 1e6, 1) for size in sizes]
    report(capsys, service, compressed_mb=round(sum(sizes) / 1e6, 1), layers_mb=layers)
    assert sum(sizes) <= BUDGET_BYTES


@pytest.mark.parametrize("service", SERVICES)
def test_labels_and_configuration(docker: Docker, images: Mapping[str, str], service: str) -> None:
    config = docker.inspect(images[service])["Config"]
    prefix = "org.opencontainers.image."
    labels = {
        name.removeprefix(prefix): text for name, text in config["Labels"].items() if name.startswith(prefix)
    }
    assert labels["source"].startswith("https://")
    assert {name: labels[name] for name in ("title", "revision", "version", "created", "licenses")} == {
        "title": service,
        "revision": "0123abc",
        "version": "1.2.3",
        "created": "2026-01-02T03:04:05Z",
        "licenses": "MIT",
    }
    assert config["User"] == "65532:65532"
    assert set(config["ExposedPorts"]) == {"3000/tcp", "9090/tcp"}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "/app/bin/service", "health"]
    assert config["Entrypoint"] == ["/app/bin/service"]


@pytest.mark.parametrize("service", SERVICES)
def test_installed_distributions_are_those_of_the_lock_file(
    docker: Docker, images: Mapping[str, str], service: str
) -> None:
    program = (
        "import json; from importlib.metadata import distributions as d; "
        "print(json.dumps({one.metadata['Name']: one.version for one in d()}))"
    )
    found = json.loads(_python(docker, images[service], program))
    installed = {_canonical(name): version for name, version in found.items()}
    assert installed == _exported(service)
    project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text("utf-8"))["project"]
    is_declared = any(each.startswith("argon2-cffi") for each in project["dependencies"])
    assert ("argon2-cffi" in installed) is is_declared
    assert not installed.keys() & (PRUNED | {"pip", "uv", "pytest", "starkeel-testing", "setuptools"})


@pytest.mark.parametrize("service", SERVICES)
def test_the_sbom_lists_the_installed_distributions(saved: dict[str, Path], service: str) -> None:
    document = json.loads(_content(saved[service], "app/sbom.cdx.json"))
    expected = _exported(service)
    assert document["bomFormat"] == "CycloneDX"
    listed = {
        component["name"]: component["version"]
        for component in document["components"]
        if not _is_debian(component)
    }
    listed[document["metadata"]["component"]["name"]] = expected[service]
    assert listed == expected
    lines = _content(saved[service], "app/licenses.txt").decode().splitlines()
    licenses = dict(line.split(": ", 1) for line in lines if not line.startswith("debian/"))
    assert {name.split(" ")[0] for name in licenses} == expected.keys()
    stated = {name.split(" ")[0]: text for name, text in licenses.items()}
    # The first has an expression, the second two classifiers, the last one classifier.
    assert stated["cryptography"] == "Apache-2.0 OR BSD-3-Clause"
    assert stated["uvloop"] == "Apache-2.0 OR MIT"
    assert stated["aiosqlite"] == "MIT"
    # Parts of these two are under a second licence, according to their own expressions.
    joint = {name for name, text in stated.items() if " AND " in text}
    assert joint == {"greenlet", "prometheus-client"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_sbom_lists_the_packages_of_the_base_image(saved: dict[str, Path], service: str) -> None:
    document = json.loads(_content(saved[service], "app/sbom.cdx.json"))
    status = "var/lib/dpkg/status.d/"
    recorded = {
        name.removeprefix(status)
        for name in _names(saved[service])
        if name.startswith(status) and name != status and not name.endswith(".md5sums")
    }
    packages = {component["name"]: component for component in document["components"] if _is_debian(component)}
    assert packages.keys() == recorded
    assert re.fullmatch(
        r"pkg:deb/debian/libc6@[\w.+:~-]+\?arch=\w+&distro=debian-13", packages["libc6"]["purl"]
    )
    assert {"LGPL-2.1+"} & {found["license"]["name"] for found in packages["libc6"]["licenses"]}


@pytest.mark.parametrize("service", SERVICES)
def test_the_sbom_has_a_serial_number_and_the_time_of_the_build(saved: dict[str, Path], service: str) -> None:
    document = json.loads(_content(saved[service], "app/sbom.cdx.json"))
    assert document["metadata"]["timestamp"] == "2026-01-02T03:04:05Z"
    assert UUID(document["serialNumber"].removeprefix("urn:uuid:")).version == 5


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_contains_no_unneeded_files(saved: dict[str, Path], service: str) -> None:
    names = [name for name in _names(saved[service]) if name.startswith(("app/", "layer/"))]
    assert any(name.endswith("site-packages/granian/__init__.pyc") for name in names)
    unneeded = re.compile(
        r"\.(pyx|pxd|c|h|pyi|a|proto)$|/(tests|testing)/|uv_cache|/pip/|(^|/)layer/|/activate"
    )
    assert "\n".join(name for name in names if unneeded.search(name)) == ""
    sources = {name for name in names if name.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(\w+)\..*", r"\1.py", name) for name in names if name.endswith(".pyc")}
    assert {name for name in sources - compiled if "/mako" not in name and "templates" not in name} == set()
    with_source = {name.partition("site-packages/")[2].partition("/")[0] for name in sources & compiled}
    assert {name for name in with_source if not name.startswith("starkeel_")} == {service}


@pytest.mark.parametrize("service", SERVICES)
def test_recorded_hashes_match_the_files(docker: Docker, images: Mapping[str, str], service: str) -> None:
    program = (
        "import base64, hashlib; from importlib.metadata import distributions as d\n"
        "wrong = [str(f) for one in d() for f in one.files if f.hash and f.hash.value != "
        "base64.urlsafe_b64encode(hashlib.sha256(f.read_binary()).digest()).rstrip(b'=').decode()]\n"
        "print(wrong)"
    )
    assert _python(docker, images[service], program) == "[]"


@pytest.mark.parametrize("service", SERVICES)
def test_every_imported_module_has_bytecode(docker: Docker, images: Mapping[str, str], service: str) -> None:
    program = (
        f"import importlib.util, os, sys; from {service}.app import create_app\n"
        "import starkeel_server._cli.serve, starkeel_server._worker.worker\n"
        # A module without source has its compiled file as `__file__`.
        "files = [getattr(m, '__file__', None) or '' for m in list(sys.modules.values())]\n"
        "compiled = importlib.util.cache_from_source\n"
        "print([f for f in files if f.endswith('.py') and not os.path.exists(compiled(f))])"
    )
    assert _python(docker, images[service], program) == "[]"


def test_builds_are_reproducible(docker: Docker, images: Mapping[str, str]) -> None:
    # Layers only: this builder writes the time of the build into the image's configuration.
    # Without a cache: files in a layer that is partly cached may have another order.
    file, arguments = ROOT / "deploy/Dockerfile", {"SERVICE": SERVICES[-1]}
    names = [f"{images[SERVICES[-1]]}-{number}" for number in ("first", "second")]
    for name in names:
        docker.build(ROOT, name, "--file", file, "--no-cache", arguments=arguments)
    layers = [docker.inspect(name)["RootFS"]["Layers"] for name in names]
    docker("rmi", *names)
    assert layers[0] == layers[1]


def _is_debian(component: dict[str, Any]) -> bool:
    return str(component.get("purl")).startswith("pkg:deb/debian/")


def _python(docker: Docker, image: str, program: str) -> str:
    command = (
        "--entrypoint",
        "/app/.venv/bin/python",
        "--env",
        "ENVIRONMENT=development",
        image,
        "-c",
        program,
    )
    return docker("run", "--rm", "--network", "none", *command)


def _exported(service: str) -> dict[str, str]:
    """Return name and version of a service's locked distributions in the image, without those pruned."""
    command = [
        "uv",
        "export",
        "--quiet",
        "--frozen",
        "--no-dev",
        "--no-header",
        "--no-annotate",
        "--no-hashes",
    ]
    out = subprocess.run(
        [*command, "--package", service], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, str] = {}
    for line in out.splitlines():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if requirement.startswith("-e "):
            folder = requirement.removeprefix("-e ")
            text = (ROOT / folder / "pyproject.toml").read_text()
            name, version = (
                re.search(rf'^{key} = "(.*)"', text, re.MULTILINE) for key in ("name", "version")
            )
            assert name is not None
            assert version is not None
            found[name[1]] = version[1]
        elif not marker or Marker(marker).evaluate(_MACHINE):
            name_text, _, version_text = requirement.partition("==")
            found[_canonical(name_text)] = version_text
    return {name: version for name, version in found.items() if name not in PRUNED}


def _manifest(archive: tarfile.TarFile) -> list[dict[str, Any]]:
    file = archive.extractfile("manifest.json")
    assert file is not None
    manifest: list[dict[str, Any]] = json.load(file)
    return manifest


def _layers(path: Path) -> Iterator[bytes]:
    with tarfile.open(path) as archive:
        for name in _manifest(archive)[0]["Layers"]:
            file = archive.extractfile(name)
            assert file is not None
            yield file.read()


def _names(path: Path) -> list[str]:
    return [name for layer in _opened(path) for name in layer.getnames()]


def _content(path: Path, name: str) -> bytes:
    for layer in _opened(path):
        if name in layer.getnames():
            file = layer.extractfile(name)
            assert file is not None
            return file.read()
    raise AssertionError(f"{name} is in no layer")


def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    for layer in _layers(path):
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            yield archive


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
