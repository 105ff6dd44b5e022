"""The generated metadata of the packages, and the settings that it follows from."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = next(ROOT.glob("services/*/pyproject.toml")).relative_to(ROOT).as_posix()
FILES = ("pyproject.toml", "LICENSE", ".github/workflows/ci.yml")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Copy of the files from which metadata is generated."""
    copied = [ROOT / name for name in FILES]
    copied += [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    for path in copied:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def generate(workspace: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "metadata", "--root", str(workspace)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def urls(workspace: Path, package: str) -> dict[str, str]:
    text = (workspace / "packages" / package / "pyproject.toml").read_text("utf-8")
    found: dict[str, str] = tomllib.loads(text)["project"].get("urls", {})
    return found


def set_release(workspace: Path, setting: str) -> None:
    file = workspace / "pyproject.toml"
    key = setting.split(" =", maxsplit=1)[0]
    old = next(line for line in file.read_text("utf-8").splitlines() if line.startswith(f"{key} = "))
    replace(file, f"\n{old}\n", f"\n{setting}\n")


def test_all_links_follow_from_one_address(workspace: Path) -> None:
    set_release(workspace, 'repository = "https://code.example/team/chassis"')
    assert generate(workspace) == (0, "")

    for package in ("http", "testing"):
        assert urls(workspace, package) == {
            "Homepage": "https://code.example/team/chassis",
            "Documentation": f"https://code.example/team/chassis/tree/main/packages/{package}#readme",
            "Source": f"https://code.example/team/chassis/tree/main/packages/{package}",
            "Changelog": "https://code.example/team/chassis/blob/main/CHANGELOG.md",
            "Issues": "https://code.example/team/chassis/issues",
        }

    set_release(workspace, 'documentation = "https://docs.example/chassis"')
    assert generate(workspace) == (0, "")
    assert urls(workspace, "http")["Documentation"] == "https://docs.example/chassis"

    set_release(workspace, 'repository = ""')
    assert generate(workspace) == (0, "")
    assert urls(workspace, "http") == {}


def test_the_declared_versions_of_python_are_those_between_the_tested_ones(workspace: Path) -> None:
    replace(workspace / ".github/workflows/ci.yml", '["3.11", "3.13"]', '["3.12", "3.14"]')
    assert generate(workspace) == (0, "")

    text = (workspace / "packages/config/pyproject.toml").read_text("utf-8")
    declared = [line.split(" :: ")[-1][:-2] for line in text.splitlines() if "Python :: 3." in line]
    assert declared == ["3.12", "3.13", "3.14"]


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (
            SERVICE,
            'classifiers = ["Private :: Do Not Upload"]',
            "",
            f'{SERVICE}: classifiers: add "Private :: Do Not Upload", with which an index refuses it',
        ),
        (
            "pyproject.toml",
            "\nrepository =",
            "\nrepo =",
            "pyproject.toml: [tool.starkeel-release]: repo: known keys are `repository` and `documentation`",
        ),
        (
            "pyproject.toml",
            '\nrepository = ""',
            '\nrepository = "http://code.example/"',
            "repository: 'http://code.example/' is not an HTTPS address without a slash at the end",
        ),
        (
            "packages/http/pyproject.toml",
            "# generated from [tool.starkeel-release]",
            "#",
            "packages/http/pyproject.toml: add the lines",
        ),
    ],
)
def test_an_error_names_the_file_and_the_solution(
    workspace: Path, file: str, old: str, new: str, problem: str
) -> None:
    replace(workspace / file, old, new)
    before = (workspace / "packages/asgi/pyproject.toml").read_text("utf-8")

    status, message = generate(workspace)

    assert status == 78
    assert problem in message
    assert (workspace / "packages/asgi/pyproject.toml").read_text("utf-8") == before
