"""The command `init`."""

import tomllib
from pathlib import Path

from command import report, seatrial
from reference_server import running


def test_written_file_has_what_was_found_and_is_used_by_check(tmp_path: Path) -> None:
    with running() as server:
        done = seatrial("init", server.url, "--admin", server.admin_url, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        written = tomllib.loads((tmp_path / "seatrial.toml").read_text())
        document = report("check", "--only", "errors", "--only", "metrics-exist", cwd=tmp_path)
    assert written["url"] == server.url
    assert written["admin_url"] == server.admin_url
    assert written["paths"] == {
        "liveness": "/health/live",
        "readiness": "/health/ready",
        "metrics": "/metrics",
        "openapi": "/openapi.json",
    }
    assert written["auth"] == {"protected_path": "/items"}
    assert written["safe_write"] == {"method": "POST", "path": "/items"}
    assert {row["verdict"] for row in document["rows"]} == {"pass"}


def test_missing_answers_are_comments(tmp_path: Path) -> None:
    with running("no readiness", "no metrics") as server:
        done = seatrial("init", server.url, cwd=tmp_path)
    text = (tmp_path / "seatrial.toml").read_text()
    assert "paths.readiness: Not found" in done.stdout
    assert (
        "\n# Not found by the usual paths: set it, or rows that need it are unknown.\n# readiness = " in text
    )
    assert "readiness" not in tomllib.loads(text)["paths"]


def test_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text("# mine\n")
    with running() as server:
        kept = seatrial("init", server.url, cwd=tmp_path)
        assert (kept.returncode, (tmp_path / "seatrial.toml").read_text()) == (2, "# mine\n")
        assert "--force" in kept.stderr
        assert seatrial("init", server.url, "--force", cwd=tmp_path).returncode == 0
    assert "# mine" not in (tmp_path / "seatrial.toml").read_text()


def test_unreachable_service_writes_no_file(tmp_path: Path) -> None:
    with running() as server:
        url = server.url
    done = seatrial("init", url, cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot reach" in done.stderr
    assert not (tmp_path / "seatrial.toml").exists()
