"""Every package and service as a wheel, installed alone."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV", "uv")  # set by `uv run`


def _members() -> dict[str, str]:
    """Return the import name of every workspace member by its distribution name."""
    projects = sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])
    names = [tomllib.loads(project.read_text())["project"]["name"] for project in projects]
    return {name: name.replace("-", "_") for name in names}


def _run(command: Sequence[str | Path], *, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    _run([UV, "build", "--quiet", "--all-packages", "--wheel", "--out-dir", directory], cwd=ROOT)
    return directory


def test_every_member_builds_as_one_wheel(wheels: Path) -> None:
    built = sorted(path.name.split("-")[0] for path in wheels.glob("*.whl"))

    assert built == sorted(_members().values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("distribution", "module"), _members().items())
def test_a_wheel_installs_and_imports_alone(
    distribution: str, module: str, wheels: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    _run([UV, "venv", "--quiet", "--python", sys.executable, environment], cwd=tmp_path)
    wheel = next(wheels.glob(f"{module}-*.whl"))
    install: list[str | Path] = [UV, "pip", "install", "--quiet", "--no-sources", "--python", python]
    _run([*install, "--find-links", wheels, wheel], cwd=tmp_path)

    program = (
        f"import importlib, importlib.resources as r, json\n"
        f"module = importlib.import_module({module!r})\n"
        f"public = [getattr(module, name) for name in getattr(module, '__all__', ())]\n"
        f"print(json.dumps([len(public), r.files(module).joinpath('py.typed').is_file()]))\n"
    )
    count, is_typed = json.loads(_run([python, "-I", "-c", program], cwd=tmp_path))

    assert is_typed
    assert count > 0 or module == distribution  # a service has no public names
    if module == distribution:
        assert "serve" in _run([python, "-m", module, "--help"], cwd=tmp_path)
