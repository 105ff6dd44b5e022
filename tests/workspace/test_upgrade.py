"""The steps of each upgrade guide, run on a service of the version before."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = Path(__file__).with_name("upgrade")
GUIDES = sorted((ROOT / "docs/upgrade").glob("*.md"))


@pytest.fixture(params=GUIDES, ids=lambda guide: guide.stem)
def guide(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def sample(guide: Path, tmp_path: Path) -> Path:
    """A copy of the service that was made with the version before."""
    before = guide.stem.partition("-to-")[0]
    return Path(shutil.copytree(SAMPLES / before, tmp_path / "service"))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environ |= {"PYTHONPATH": str(folder / "src"), "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=110, check=False
    )


def imported(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import all modules of the service; a deprecated name of a package is an error."""
    (package,) = (folder / "src").iterdir()
    names = [f"{package.name}.{path.stem}" for path in package.glob("[a-z]*.py")]
    program = (
        "import importlib, sys, warnings\n"
        "warnings.filterwarnings('error', 'starkeel_.* is deprecated', DeprecationWarning)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
    )
    return run(folder, sys.executable, "-c", program, *names)


def test_every_minor_version_has_a_guide_and_a_service_of_the_version_before() -> None:
    released = re.findall(r"^## (\d+\.\d+)\.\d+ - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    series = [each for index, each in enumerate(released) if each not in released[:index]]
    needed = {f"{before}-to-{after}" for after, before in pairwise(series)}

    assert needed <= {guide.stem for guide in GUIDES}
    assert {guide.stem.partition("-to-")[0] for guide in GUIDES} <= {path.name for path in SAMPLES.iterdir()}


@pytest.mark.timeout(240)
def test_a_service_works_after_the_steps_of_the_guide(guide: Path, sample: Path) -> None:
    assert "DeprecationWarning" in imported(sample).stderr

    for step in re.findall(r"^```sh\n(.*?)^```$", guide.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        done = run(sample, "bash", "-euo", "pipefail", "-c", step)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"

    after = imported(sample)
    assert after.returncode == 0, after.stderr
    tested = run(
        sample,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        ".",
        "tests",
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert re.search(r"^[1-9]\d* passed", tested.stdout, re.MULTILINE)
    assert not re.search(r">=0\.1", (sample / "pyproject.toml").read_text("utf-8"))
