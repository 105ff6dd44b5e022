"""`just check` refuses a service that is missing in a file."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.generate import regions
from tools.registry import ROOT, RegistryError, read
from tools.workspace import service_names

REGION = re.compile(r"# generated from the registry: [^\n]+\n(.*?)# end of the generated part", re.DOTALL)


def run(module: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a copy of the files that the registry concerns."""
    for path in [*map(ROOT.joinpath, regions.FILES), *ROOT.glob("services/*/pyproject.toml")]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


@pytest.mark.parametrize("service", service_names())
def test_a_generated_part_without_the_service_is_stale(workspace: Path, service: str) -> None:
    stale = set()
    for file in regions.FILES:
        text = (workspace / file).read_text("utf-8")
        without = REGION.sub(lambda found: found[0].replace(service, "other"), text)
        if without != text:
            (workspace / file).write_text(without, "utf-8")
            stale.add(file)

    code, reported = run("tools.generate", "fleet", "--check", "--root", str(workspace))

    assert code == 1
    # Their digest, where they have one, does not fit either.
    assert {line.partition(" ")[0] for line in reported.splitlines()} >= stale
    assert {"deploy/compose.yaml", "deploy/observability/prometheus.yaml", "pyproject.toml"} <= stale
    assert ".github/workflows/images.yml" in stale


def test_a_service_without_a_document_is_reported(tmp_path: Path) -> None:
    (tmp_path / "docs/openapi/released").mkdir(parents=True)
    for folder in ("docs/openapi", "docs/openapi/released"):
        (tmp_path / folder / "gone.json").write_text("{}")
    shutil.copy(ROOT / "docs/errors.md", tmp_path / "docs/errors.md")

    code, reported = run("tools.generate", "openapi", "--check", "--root", str(tmp_path))

    expected = [f"docs/{kind}/{name}.json" for kind in ("asyncapi", "openapi") for name in service_names()]
    expected += ["docs/openapi/gone.json", "docs/openapi/released/gone.json"]
    assert code == 1
    assert sorted(reported.splitlines()) == sorted(
        f"{file} is stale: run `just openapi`" for file in expected
    )


@pytest.mark.parametrize("service", service_names())
def test_a_service_without_a_released_document_is_reported(tmp_path: Path, service: str) -> None:
    (tmp_path / "docs/openapi").mkdir(parents=True)
    shutil.copy(ROOT / "docs/openapi" / f"{service}.json", tmp_path / "docs/openapi")

    code, reported = run("tools.checks.api_compatibility", "--root", str(tmp_path))

    assert (code, reported) == (
        1, f"docs/openapi/released/{service}.json is missing: run `just release-openapi`\n"
    )  # fmt: skip


def test_a_folder_that_is_no_service_is_refused(workspace: Path) -> None:
    (workspace / "services/half/src/half/__pycache__").mkdir(parents=True)
    (workspace / "services/half/src/half/__pycache__/app.pyc").touch()
    assert [service.name for service in read(workspace)] == service_names()
    (workspace / "services/half/src/half/app.py").touch()

    with pytest.raises(RegistryError, match=r"services/half: has no pyproject\.toml: restore it, or run"):
        read(workspace)
