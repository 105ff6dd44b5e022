"""`seatrial image` and `seatrial manifests` as programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .image_defects import IMAGE, configured
from .images import docker_files, pack, program, write_archive
from .manifests import KUBERNETES, in_container, write_compose, write_kubernetes


def seatrial(
    *arguments: str, folder: Path, given: bytes | None = None, config: str = "stop_s = 30"
) -> "subprocess.CompletedProcess[bytes]":
    (folder / "seatrial.toml").write_text(config)
    command = [sys.executable, "-m", "seatrial", *arguments]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False, timeout=60)


def verdicts(result: "subprocess.CompletedProcess[bytes]") -> dict[str, str]:
    return {row["id"]: row["verdict"] for row in json.loads(result.stdout)["rows"]}


def test_an_image_is_judged(tmp_path: Path) -> None:
    write_archive(tmp_path / "image.tar", docker_files(IMAGE))
    result = seatrial("image", "image.tar", folder=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert b"14 passed" in result.stdout
    assert b"linux/amd64" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_an_image_on_standard_input_that_is_defective_fails(tmp_path: Path) -> None:
    archive = pack(docker_files(configured(User="root")))
    result = seatrial("image", "-", "--format", "json", folder=tmp_path, given=archive)
    assert result.returncode == 1, result.stderr
    assert [row for row, verdict in verdicts(result).items() if verdict == "fail"] == ["image-user"]


def test_the_limit_of_the_size_is_configured(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "image.tar", docker_files(configured(User="1")))
    config = "[image]\nmax_size_mib = 0"
    result = seatrial("image", path, folder=tmp_path, config=config)
    assert result.returncode == 2
    assert b"image.max_size_mib: 0 is not at least 1" in result.stderr


def test_manifests_are_judged(tmp_path: Path) -> None:
    for path, passed in ((write_kubernetes(tmp_path), 14), (write_compose(tmp_path), 6)):
        result = seatrial("manifests", path, folder=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"{passed} passed".encode() in result.stdout


def test_manifests_on_standard_input_are_judged(tmp_path: Path) -> None:
    result = seatrial("manifests", "-", "--format", "json", folder=tmp_path, given=KUBERNETES.encode())
    assert result.returncode == 0, result.stderr
    assert list(verdicts(result).values()).count("pass") == 14


def test_a_defect_fails(tmp_path: Path) -> None:
    path = write_kubernetes(tmp_path, in_container(image="shop"))
    result = seatrial("manifests", path, folder=tmp_path)
    assert result.returncode == 1
    assert b"FAIL  manifests-image-tag (high)" in result.stdout


def test_a_time_to_stop_that_is_not_configured_leaves_a_row_unknown(tmp_path: Path) -> None:
    path = write_kubernetes(tmp_path)
    result = seatrial("manifests", path, "--format", "json", folder=tmp_path, config="")
    assert result.returncode == 0, result.stderr
    assert [row for row, verdict in verdicts(result).items() if verdict == "unknown"] == [
        "manifests-grace-period"
    ]
    assert b"set `stop_s` in seatrial.toml" in result.stdout


def test_a_manifest_with_a_value_of_another_type_leaves_rows_unknown(tmp_path: Path) -> None:
    path = write_kubernetes(tmp_path, in_container(resources="many"))
    result = seatrial("manifests", path, "--format", "json", folder=tmp_path)
    assert verdicts(result)["manifests-resources"] == "unknown"
    assert b"containers[0].resources must be a mapping" in result.stdout


def test_names_that_are_not_valid_text_are_printed(tmp_path: Path) -> None:
    labels = {"\ud800": "\udfff", "x.token": "hunter2"}
    build = configured(Labels=labels).with_layer(program("\udcff\x1b[2J/bin/bash"))
    result = seatrial("image", write_archive(tmp_path / "a.tar", docker_files(build)), folder=tmp_path)
    assert result.returncode == 1, result.stderr
    assert rb"/\xff\x1b[2J/bin/bash" in result.stdout
    assert b"\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("image", "missing.tar"), b"seatrial: there is no file 'missing.tar'"),
        (("image", "seatrial.toml"), b"seatrial: the archive seatrial.toml cannot be read"),
        (("manifests", "missing.yaml"), b"seatrial: missing.yaml cannot be read: No such file"),
        (("manifests", "seatrial.toml"), b"seatrial: seatrial.toml contains no manifest"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], problem: bytes, tmp_path: Path
) -> None:
    result = seatrial(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(problem)
    assert result.stderr.count(b"\n") == 1
    assert not result.stdout
