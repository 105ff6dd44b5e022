"""The tutorial of one endpoint, run as written, and the excerpt of it in the README."""

import os
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.documented_commands import run_page, shows, steps
from tools.registry import read

ROOT = Path(__file__).parents[2]
FIRST_SERVICE = ROOT / "docs/tutorial/first-service.md"
PAGE = ROOT / "docs/tutorial/own-endpoint.md"
_MENTIONED = ("accounts", "orders")
_KEPT = ("PATH", "HOME", "LANG", "UV_CACHE_DIR", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "SSL_CERT_FILE")


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in sockets]


@pytest.mark.timeout(300)
def test_the_commands_of_the_tutorial_show_what_it_states(tmp_path: Path) -> None:
    (tmp_path / "starkeel").symlink_to(ROOT)
    folder = tmp_path / "hello"
    folder.mkdir()
    port, admin_port = free_ports(2)
    environ = {name: value for name, value in os.environ.items() if name in _KEPT}
    environ |= {"PORT": port, "METRICS_PORT": admin_port, "DRAIN_DELAY_SECONDS": "0"}

    run_page(
        PAGE,
        folder,
        environ=environ,
        replaced={":3000": f":{port}", ":9090": f":{admin_port}", "=3000": f"={port}"},
    )


@pytest.mark.timeout(900)
def test_the_first_service_is_made_run_and_removed_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "starkeel"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    environ = {name: value for name, value in os.environ.items() if name in _KEPT}
    author = {"NAME": "Ada", "EMAIL": "ada@example.com"}
    environ |= {f"GIT_{role}_{key}": author[key] for role in ("AUTHOR", "COMMITTER") for key in author}
    remove_other_services(folder, environ)
    port, admin_port = consecutive_ports(3)
    replaced = {
        "just dev": f"just dev {port} {admin_port}",
        **{f":{3000 + index}": f":{port + index}" for index in range(3)},
        ":9092": f":{admin_port + 2}",
    }

    run_page(FIRST_SERVICE, folder, environ=environ, replaced=replaced)
    changed = subprocess.run(
        ["git", "diff", "--cached", "--exit-code", "HEAD~1"], cwd=folder, capture_output=True, check=False
    )

    assert changed.returncode == 0, changed.stdout.decode()


def remove_other_services(folder: Path, environ: Mapping[str, str]) -> None:
    """Remove the services of a clone that the page does not mention, such as one with the name of its own."""
    for service in read():
        if service.name in _MENTIONED or not (folder / "services" / service.name).exists():
            continue
        for command in (
            ["uv", "run", "--frozen", "just", "remove-service", service.name, "--force"],
            ["git", "add", "--all"],
            ["git", "commit", "--quiet", "--message", f"Remove {service.name}"],
        ):
            subprocess.run(command, cwd=folder, env=dict(environ), capture_output=True, check=True)


def consecutive_ports(count: int) -> tuple[int, int]:
    """Return the first ports of two rows of free ones."""
    starts = (
        start for start in range(20_000, 30_000, 2 * count) if all_free(range(start, start + 2 * count))
    )
    first = next(start for start in starts if all_free(range(start, start + 2 * count)))
    return first, first + count


def all_free(ports: Iterable[int]) -> bool:
    with ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True


def test_the_readme_has_the_endpoint_of_the_tutorial() -> None:
    files = {step.argument: step.text for step in steps(PAGE) if step.kind == "file"}
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"))

    assert set(files) == {"api.py", "hello.py"}
    assert [block for block in blocks if "create_app" in block] == [files["api.py"]]


@pytest.mark.parametrize(
    ("output", "expected", "is_shown"),
    [
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("a 1 b\n", "a ... b\n", True),
        ("a\nc\n", "a\n...\nc\n", True),
        ("a\nb\n", "b\n...\na\n", False),
        ("abc\n", "b\n", False),
        ("{}", "[]", False),
    ],
)
def test_output_is_compared_in_order(output: str, expected: str, is_shown: bool) -> None:
    assert shows(output, expected) is is_shown
