"""What is in the images, how large they are, and what a change builds again."""

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from packaging.markers import Marker

from .conftest import ROOT, SERVICES, told
from .docker import Docker

BUDGET_BYTES = 50_000_000
# Libraries name them, no service imports them: the Dockerfile says why.
PRUNED = {"polyfactory", "faker", "rich", "rich-click", "pygments", "markdown-it-py", "mdurl", "pycparser"}
PRUNED |= {"googleapis-common-protos", "tzdata"}
_MACHINE = {"python_full_version": "3.13.5", "python_version": "3.13", "sys_platform": "linux"}


@pytest.fixture(scope="module")
def saved(
    docker: Docker, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each image as the archive that Docker writes."""
    folder = tmp_path_factory.mktemp("saved")
    for service, name in images.items():
        docker("save", "--output", folder / f"{service}.tar", name)
    return {service: folder / f"{service}.tar" for service in images}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_small(saved: dict[str, Path], service: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [len(gzip.compress(layer, 6)) for layer in _layers(saved[service])]
    told(
        capsys, f"{service}: {sum(sizes) / 1e6:.1f} MB compressed, layers {[f'{s / 1e6:.1f}' for s in sizes]}"
    )
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
def test_what_is_installed_is_what_was_exported(
    docker: Docker, images: Mapping[str, str], service: str
) -> None:
    program = (
        "import json; from importlib.metadata import distributions as d; "
        "print(json.dumps({one.metadata['Name']: one.version for one in d()}))"
    )
    found = json.loads(_python(docker, images[service], program))
    installed = {_canonical(name): version for name, version in found.items()}
    assert installed == _exported(service)
    assert ("argon2-cffi" in installed) is (service == "accounts")
    assert not installed.keys() & (PRUNED | {"pip", "uv", "pytest", "starkeel-testing", "setuptools"})


@pytest.mark.parametrize("service", SERVICES)
def test_the_inventory_names_what_is_installed(saved: dict[str, Path], service: str) -> None:
    document = json.loads(_content(saved[service], "app/sbom.cdx.json"))
    expected = _exported(service)
    assert document["bomFormat"] == "CycloneDX"
    named = {one["name"]: one["version"] for one in document["components"]}
    named[document["metadata"]["component"]["name"]] = expected[service]
    assert named == expected
    assert all(one["licenses"][0]["license"]["name"] for one in document["components"])
    licenses = _content(saved[service], "app/licenses.txt").decode()
    assert {line.split(" ")[0] for line in licenses.splitlines()} == expected.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_unneeded_is_left(saved: dict[str, Path], service: str) -> None:
    names = [name for name in _names(saved[service]) if name.startswith(("app/", "layer/"))]
    assert any(name.endswith("site-packages/granian/__init__.py") for name in names)
    unneeded = re.compile(
        r"\.(pyx|pxd|c|h|pyi|a|proto)$|/(tests|testing)/|uv_cache|/pip/|(^|/)layer/|/activate"
    )
    assert "\n".join(name for name in names if unneeded.search(name)) == ""
    sources = {name for name in names if name.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(\w+)\..*", r"\1.py", name) for name in names if name.endswith(".pyc")}
    assert {name for name in sources - compiled if "/mako" not in name and "templates" not in name} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_records_are_true(docker: Docker, images: Mapping[str, str], service: str) -> None:
    program = (
        "import base64, hashlib; from importlib.metadata import distributions as d\n"
        "wrong = [str(f) for one in d() for f in one.files if f.hash and f.hash.value != "
        "base64.urlsafe_b64encode(hashlib.sha256(f.read_binary()).digest()).rstrip(b'=').decode()]\n"
        "print(wrong)"
    )
    assert _python(docker, images[service], program) == "[]"


@pytest.mark.parametrize("service", SERVICES)
def test_no_module_of_the_standard_library_is_compiled_at_each_start(
    docker: Docker, images: Mapping[str, str], service: str
) -> None:
    program = (
        f"import importlib.util, os, sys; from {service}.app import create_app\n"
        "import starkeel_server._cli.serve, starkeel_server._worker.worker\n"
        "files = [getattr(m, '__file__', None) or '' for m in list(sys.modules.values())]\n"
        "compiled = importlib.util.cache_from_source\n"
        "print([f for f in files if f.endswith('.py') and not os.path.exists(compiled(f))])"
    )
    assert _python(docker, images[service], program) == "[]"


def test_two_builds_from_nothing_are_the_same(docker: Docker, images: Mapping[str, str]) -> None:
    # Digests of layers: this builder puts the time of the build into what describes them.
    # Both from nothing: a layer partly taken from its cache may list its files in another order.
    file, arguments = ROOT / "deploy/Dockerfile", {"SERVICE": "orders"}
    names = [f"{images['orders']}-{number}" for number in ("first", "second")]
    for name in names:
        docker.build(ROOT, name, "--file", file, "--no-cache", arguments=arguments)
    layers = [docker.inspect(name)["RootFS"]["Layers"] for name in names]
    docker("rmi", *names)
    assert layers[0] == layers[1]


class Tree:
    """A copy of the workspace that may be changed, built as often as wanted."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self._docker = docker
        self.folder = folder
        self.last: dict[str, list[str]] = {}

    def build(self, service: str) -> tuple[set[str], list[str]]:
        """Build, and return the stages that ran according to BuildKit, and the layers of the image."""
        tag = f"starkeel-test/{service}:isolation"
        arguments = {"SERVICE": service}
        log = self._docker.build(
            self.folder, tag, "--file", self.folder / "deploy/Dockerfile", arguments=arguments
        )
        return _ran(log), self._docker.inspect(tag)["RootFS"]["Layers"]

    def edit(self, path: str) -> None:
        """Change a file as it never was before: a builder that was used before knows all that was."""
        with (self.folder / path).open("a") as file:
            file.write(f"\n# {uuid4()}\n")

    def require(self, service: str, library: str, marker: str) -> None:
        """Let a service need a library that is locked already, as `uv add` does, without asking an index."""
        project, lock = self.folder / f"services/{service}/pyproject.toml", self.folder / "uv.lock"
        _insert(project, r"dependencies = \[", f'    "{library}; {marker}",')
        entry = f'    {{ name = "{library}", marker = "{marker}" }},'
        package = rf'name = "{service}"\n(?:(?!\[\[package).*\n)*?'
        _insert(lock, rf"{package}dependencies = \[", entry)
        _insert(lock, rf"{package}requires-dist = \[", entry)
        command = ["uv", "lock", "--check", "--offline", "--quiet"]
        subprocess.run(command, cwd=self.folder, check=True)


@pytest.fixture
def tree(docker: Docker, images: Mapping[str, str], tmp_path: Path) -> Tree:
    """A copy, of which both images have been built."""
    for name in ("pyproject.toml", "uv.lock", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in ("packages", "services", "deploy"):
        ignored = shutil.ignore_patterns("__pycache__", "tests", ".data", "secrets")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    one = Tree(docker, tmp_path)
    for service in SERVICES:
        one.build(service)
    return one


def test_an_untouched_service_builds_nothing_again(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.edit("services/orders/src/orders/orders.py")
    ran, layers = tree.build("accounts")
    assert ran <= {"plan"}
    assert layers == before["accounts"]


def test_a_service_s_code_builds_one_layer_of_one_image_again(tree: Tree) -> None:
    before = tree.build("orders")[1]
    tree.edit("services/orders/src/orders/orders.py")
    ran, layers = tree.build("orders")
    assert ran == {"plan", "members", "runtime"}
    assert sum(a != b for a, b in zip(before, layers, strict=True)) == 1


def test_a_shared_package_builds_no_third_party_layer_again(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.edit("packages/config/src/starkeel_config/__init__.py")
    for service in SERVICES:
        ran, layers = tree.build(service)
        assert ran == {"plan", "members", "runtime"}
        assert sum(a != b for a, b in zip(before[service], layers, strict=True)) == 1


def test_a_service_s_dependency_builds_that_service_only_again(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.require("orders", "psutil", f"platform_release != '{uuid4()}'")
    ran, layers = tree.build("accounts")
    assert ran <= {"plan"}
    assert layers == before["accounts"]
    ran, layers = tree.build("orders")
    assert {"plan", "dependencies", "members", "runtime"} == ran
    assert layers != before["orders"]


def _insert(file: Path, line: str, new: str) -> None:
    """Write a new line below the one line that a pattern ends with."""
    text, times = re.subn(
        rf"^({line}\n)", lambda found: f"{found[1]}{new}\n", file.read_text(), flags=re.MULTILINE
    )
    assert times == 1, (file, line)
    file.write_text(text)


def _ran(log: str) -> set[str]:
    """Return the stages whose steps BuildKit did not take from its cache."""
    steps = dict(re.findall(r"^#(\d+) \[(\w+) \d+/\d+\] (?:RUN|COPY)", log, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED", log, re.MULTILINE))
    assert steps, log
    return {stage for number, stage in steps.items() if number not in cached}


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
    """Return what the lock holds for a service on this kind of machine, less what is pruned."""
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
