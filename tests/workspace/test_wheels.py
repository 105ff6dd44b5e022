"""Every package and service as a wheel and a source distribution: contents, metadata, installed alone."""

import email
import email.message
import functools
import hashlib
import json
import re
import shutil
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from trove_classifiers import classifiers as known_classifiers

from tests.support.wheels import UV, run

from .interpreters import oldest_and_newest

ROOT = Path(__file__).parents[2]
# By one release of the build backend, which notes its version in the wheel.
BUILD = [UV, "build", "--quiet", "--force-pep517"]
REPOSITORY = "https://code.example/team/chassis"
PRIVATE = "Private :: Do Not Upload"
PROJECTS = {
    project["name"]: (path.parent, project)
    for path in sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])
    for project in [tomllib.loads(path.read_text("utf-8"))["project"]]
}
PACKAGES = [name for name, (folder, _) in PROJECTS.items() if folder.parent.name == "packages"]
SERVICES = [name for name in PROJECTS if name not in PACKAGES]
INTERPRETERS = oldest_and_newest(PROJECTS[PACKAGES[0]][1]["classifiers"])
# A service runs from its image, with one version of Python.
INSTALLED = [
    *((name, version) for name in PACKAGES for version in INTERPRETERS),
    *((name, next(iter(INTERPRETERS))) for name in SERVICES),
]


@pytest.fixture(scope="module")
def index(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a package index (PEP 503) with the wheels, served over HTTP."""
    directory = tmp_path_factory.mktemp("index")
    for wheel in wheels.glob("*.whl"):
        folder = directory / _distribution(wheel)
        folder.mkdir()
        (folder / wheel.name).symlink_to(wheel)
    handler = functools.partial(_Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parameter's name in the base class
        pass


def _distribution(wheel: Path) -> str:
    return wheel.name.split("-", maxsplit=1)[0].replace("_", "-")


def _wheel(wheels: Path, distribution: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(wheels.glob(f"{distribution.replace('-', '_')}-*.whl")))


def _metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_string(wheel.read(name).decode())


def test_every_member_builds_as_one_wheel(wheels: Path) -> None:
    assert sorted(map(_distribution, wheels.glob("*.whl"))) == sorted(PROJECTS)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_metadata_of_a_package_is_complete(name: str, wheels: Path) -> None:
    folder, project = PROJECTS[name]
    wheel = _wheel(wheels, name)
    metadata = _metadata(wheel)
    classifiers = metadata.get_all("Classifier", [])
    readme = metadata.get_payload()

    assert metadata["Version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert metadata["License-Expression"] == "MIT"
    license_file = next(each for each in wheel.namelist() if each.endswith("/licenses/LICENSE"))
    assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"] == project["description"]
    assert isinstance(readme, str)
    assert readme.strip() == (folder / "README.md").read_text("utf-8").strip()
    assert metadata.get_all("Project-URL", []) == [f"{k}, {v}" for k, v in project.get("urls", {}).items()]
    assert f"{name.replace('-', '_')}/py.typed" in wheel.namelist()
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} < set(classifiers)
    # An index refuses classifiers that it does not have.
    assert set(classifiers) <= set(known_classifiers)
    assert PRIVATE not in classifiers
    assert not any("tests/" in each for each in wheel.namelist())


@pytest.mark.parametrize("name", SERVICES)
def test_an_index_refuses_a_service(name: str, wheels: Path) -> None:
    assert PRIVATE in _metadata(_wheel(wheels, name)).get_all("Classifier", [])


def test_a_source_distribution_builds_the_same_wheel(wheels: Path, tmp_path: Path) -> None:
    run([*BUILD, "--all-packages", "--sdist", "--out-dir", tmp_path], cwd=ROOT)
    sources = sorted(tmp_path.glob("*.tar.gz"))
    assert len(sources) == len(PROJECTS)
    for source in sources:
        run([*BUILD, "--wheel", "--out-dir", tmp_path / "rebuilt", source], cwd=tmp_path)

    assert _digests(tmp_path / "rebuilt") == _digests(wheels)


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.whl")}


IMPORTS = """
import importlib, importlib.resources as resources, json, sys
top, modules = sys.argv[1], sys.argv[2:]
count = 0
for name in modules:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        getattr(module, public)
        count += 1
print(json.dumps([count, sys.version_info[:2], module.__file__]))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "version"), INSTALLED)
def test_a_wheel_installs_alone_from_an_index_and_every_public_name_imports(
    name: str, version: str, index: str, wheels: Path, tmp_path: Path
) -> None:
    environment, module = tmp_path / "venv", name.replace("-", "_")
    python = environment / "bin" / "python"
    run([UV, "venv", "--quiet", "--python", INTERPRETERS[version], environment], cwd=tmp_path)
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--no-sources", "--python", python]
    # What this index has is not taken from another one.
    run([*install, "--index", index, name], cwd=tmp_path)

    modules = _public_modules(_wheel(wheels, name)) if name in PACKAGES else [module]
    output = run([python, "-I", "-c", IMPORTS, module, *modules], cwd=tmp_path)
    count, running, file = json.loads(output)

    assert ".".join(map(str, running)) == version
    assert file.startswith(str(environment))
    assert (count > 0) == (name in PACKAGES)  # a service has no public names
    if name in SERVICES:
        assert "serve" in run([python, "-m", module, "--help"], cwd=tmp_path)


def _public_modules(wheel: zipfile.ZipFile) -> list[str]:
    """Return the modules without an underscore in their path, the package itself last."""
    paths = [Path(name) for name in wheel.namelist() if name.endswith(".py")]
    modules = [path.parent if path.name == "__init__.py" else path.with_suffix("") for path in paths]
    public = {
        ".".join(each.parts) for each in modules if not any(part.startswith("_") for part in each.parts)
    }
    return sorted(public, reverse=True)


def test_only_packages_are_built_for_an_index_with_links_to_the_repository(tmp_path: Path) -> None:
    copied = ("pyproject.toml", "LICENSE", "packages", "services")
    for name in copied:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (tmp_path / "tree").mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / "tree" / name)
    settings = tmp_path / "tree/pyproject.toml"
    text = re.sub(r"(?m)^repository = .*$", f'repository = "{REPOSITORY}"', settings.read_text("utf-8"))
    settings.write_text(text, encoding="utf-8")

    command = [sys.executable, "-m", "tools.release.build", tmp_path / "dist", "--root", tmp_path / "tree"]
    output = run(command, cwd=ROOT)

    # The workflow uploads each folder that this line names.
    assert output == f"packages={json.dumps(PACKAGES)}\n"
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == sorted(PACKAGES)
    links = []
    for name in PACKAGES:
        files = sorted(path.suffix for path in (tmp_path / "dist" / name).iterdir())
        assert files == [".gz", ".whl"]
        readme = str(_metadata(_wheel(tmp_path / "dist" / name, name)).get_payload())
        links += re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```|`[^`\n]*`", "", readme))
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    own = [link.removeprefix(f"{REPOSITORY}/blob/v") for link in links if link.startswith(REPOSITORY)]
    targets = [link.partition("/")[2].partition("#")[0] for link in own]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
