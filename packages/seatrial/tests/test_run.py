"""`seatrial run`: all configured commands with one report."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .command import CONFIG, report, seatrial
from .image_defects import IMAGE, configured
from .images import docker_files, write_archive
from .manifests import in_container, write_kubernetes
from .reference_server import running

SCHEMA = json.loads((Path(__file__).parents[1] / "src/seatrial/report.schema.json").read_text("utf-8"))


# Rows of `check` that take no time, and all rows of the other commands.
QUICK = tuple(
    f"--only={name}"
    for name in ("health-liveness", "edge-no-sniffing", "auth-challenge", "image", "manifests")
)


def configure(folder: Path, url: str = "", admin_url: str = "", *, image: str = "", path: str = "") -> None:
    # A table ends the top-level keys.
    (folder / "seatrial.toml").write_text(
        f'url = "{url}"\nadmin_url = "{admin_url}"\nstop_s = 30\n{CONFIG}'
        f'[image]\nreference = "{image}"\n[manifests]\npath = "{path}"\n'
    )


def verdicts(document: dict[str, Any], command: str) -> set[str]:
    return {row["verdict"] for row in document["rows"] if row["command"] == command}


def test_all_configured_commands_run_with_one_report(tmp_path: Path) -> None:
    image = write_archive(tmp_path / "image.tar", docker_files(IMAGE))
    path = write_kubernetes(tmp_path)
    with running() as server:
        configure(tmp_path, server.url, server.admin_url, image=image, path=path)
        document = report("run", *QUICK, cwd=tmp_path, code=(0,))
        shown = seatrial("run", *QUICK, cwd=tmp_path)
    jsonschema.validate(document, SCHEMA)
    assert document["command"] == "run"
    assert document["target"] == f"{server.url}, {image}, {path}"
    assert all("pass" in verdicts(document, command) for command in ("check", "image", "manifests"))
    assert document["found"].keys() >= {"liveness", "digest", "workloads"}
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("broken", ["check", "image", "manifests"])
def test_a_row_of_any_command_that_fails_makes_the_run_fail(broken: str, tmp_path: Path) -> None:
    image = docker_files(configured(User="root") if broken == "image" else IMAGE)
    changes = [in_container(image="shop")] if broken == "manifests" else []
    with running(*(["sniffing"] if broken == "check" else [])) as server:
        configure(
            *(tmp_path, server.url, server.admin_url),
            image=write_archive(tmp_path / "image.tar", image),
            path=write_kubernetes(tmp_path, *changes),
        )
        document = report("run", *QUICK, cwd=tmp_path, code=(1,))
    assert {row["command"] for row in document["rows"] if row["verdict"] == "fail"} == {broken}


def test_a_command_that_is_not_configured_is_left_out_and_reported(tmp_path: Path) -> None:
    configure(tmp_path, path=write_kubernetes(tmp_path))
    document = report("run", cwd=tmp_path, code=(0,))
    assert document["not_run"].items() >= {
        ("check", "url is not set"),
        ("image", "image.reference is not set"),
    }
    assert {row["command"] for row in document["rows"]} == {"manifests"}
    for name in ("terminal", "markdown", "html"):
        assert "image.reference is not set" in seatrial("run", "--format", name, cwd=tmp_path).stdout


def test_a_required_row_of_a_command_that_did_not_run_is_a_failure(tmp_path: Path) -> None:
    configure(tmp_path, path=write_kubernetes(tmp_path))
    document = report("run", "--require", "image-user", cwd=tmp_path, code=(1,))
    [row] = [row for row in document["rows"] if row["id"] == "image-user"]
    assert row["verdict"] == "unknown"
    assert row["reason"] == "`seatrial image` did not run: image.reference is not set."


def test_a_command_without_selected_rows_is_not_prepared(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:1", path=write_kubernetes(tmp_path))
    document = report("run", "--only", "manifests", cwd=tmp_path, code=(0,))
    assert document["requests"] == 0
    assert {row["command"] for row in document["rows"]} == {"manifests"}


@pytest.mark.parametrize(
    ("keys", "arguments", "problem"),
    [
        ({}, (), "nothing to run: set one of url, drill.command, image.reference, manifests.path"),
        ({"url": "http://127.0.0.1:1"}, (), "cannot reach http://127.0.0.1:1"),
        ({"image": "absent.tar"}, (), "there is no file 'absent.tar'"),
        ({"image": "absent.tar"}, ("--only", "edge"), "check --only and --skip; check: url is not set"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(
    keys: dict[str, str], arguments: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    configure(tmp_path, **keys)
    done = seatrial("run", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
