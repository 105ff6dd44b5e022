"""seatrial from its wheel, alone in an environment, against a server that is not of this workspace."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from starkeel_testing import wait_until

from tests.support.wheels import UV, run

from .interpreters import oldest_and_newest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "packages/seatrial/pyproject.toml").read_text("utf-8"))["project"]
INTERPRETERS = oldest_and_newest(PROJECT["classifiers"])
# What it depends on, which has no further dependencies.
NEEDED = {"seatrial", "pyyaml", "backports-zstd"}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """URL of the file server of the standard library, as a process of its own."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "health").write_text("ok")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        with closing(server.stdout) as output:
            url = output.readline().split("(")[1].split("/)")[0]
            wait_until(lambda: urlopen(url).status == 200, what="the file server")
            yield url
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", INTERPRETERS)
def test_it_judges_a_foreign_server(version: str, address: str, wheels: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    run([UV, "venv", "--quiet", "--python", INTERPRETERS[version], environment], cwd=tmp_path)
    wheel = next(wheels.glob("seatrial-*.whl"))
    run([UV, "pip", "install", "--quiet", "--python", python, wheel], cwd=tmp_path)

    installed = json.loads(
        run([UV, "pip", "list", "--quiet", "--format", "json", "--python", python], cwd=tmp_path)
    )
    command = [environment / "bin" / "seatrial", "check", address, "--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)

    assert {package["name"] for package in installed} <= NEEDED
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    verdicts = {row["id"]: row["verdict"] for row in report["rows"]}
    assert report["found"]["liveness"] == "/health"
    # It answers GET and HEAD with files, names its version, and has no metrics.
    assert verdicts["health-liveness"] == verdicts["errors-not-found"] == verdicts["edge-head"] == "pass"
    assert verdicts["edge-no-server-version"] == verdicts["metrics-exist"] == "fail"
    assert verdicts["auth-alg-none"] == "unknown"
    assert verdicts["tls-hsts"] == "not applicable"
