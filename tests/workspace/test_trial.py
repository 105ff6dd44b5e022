"""`just trial`: its results, the tables made of them, and what makes it fail."""

import json
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from starkeel_testing import wait_until

from tests.support.programs import free_port
from tests.support.wheels import run as run_command
from tools.generate import checklist
from tools.registry import ROOT
from tools.trial.controlled_database import controlled_database
from tools.trial.disturbed import ENDLESS_PATH, ERROR_PATH
from tools.trial.drills import rows_for_absent
from tools.trial.peers import PEERS
from tools.trial.results import Results, RowResult, differences, read_results, results_of
from tools.trial.static_subjects import images
from tools.trial.subject import Subject, Trial, TrialError, merged, run, subject_keys, toml

RESULTS = read_results(ROOT / checklist.RESULTS)
JUDGED = {"check", "manifests"}
PEER_KEYS = {"required_variable": "JWT_SECRET"}
"""Keys of peers that not every service has."""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec: {containers: [{name: shop, image: shop}]}
"""


def test_the_committed_results_are_of_the_present_catalogue() -> None:
    catalogue = json.loads(run_command([sys.executable, "-m", "seatrial", "rows", "--json"], cwd=ROOT))
    judged = {row.command for row in RESULTS.rows}
    assert judged >= JUDGED
    expected = {row["id"]: row["title"] for row in catalogue if row["command"] in judged}
    assert {row.id: row.title for row in RESULTS.rows} == expected


def test_the_comparison_is_of_the_present_catalogue() -> None:
    peers = read_results(ROOT / checklist.COMPARISON)
    catalogue = json.loads(run_command([sys.executable, "-m", "seatrial", "rows", "--json"], cwd=ROOT))
    judged = {row.command for row in peers.rows}
    own = {row["id"]: row["title"] for row in catalogue if row["command"] in judged}
    own = {row: title for row, title in own.items() if row not in rows_for_absent(PEER_KEYS)}
    assert {row.id: row.title for row in peers.rows} == own
    assert all(row.verdicts.keys() == peers.versions.keys() for row in peers.rows)
    assert peers.versions.keys() == {peer.title for peer in PEERS}


def test_the_comparison_names_what_passes_elsewhere_only() -> None:
    def row(own: str, other: str) -> Results:
        verdicts = {"shop, production": own, "Other": other}
        fields = {
            "id": "edge-head",
            "title": "HEAD",
            "category": "edge",
            "severity": "low",
            "command": "check",
        }
        return Results([RowResult(**fields, verdicts=verdicts)], {"Other": "Other 1"})

    named = "- `edge-head` is fail on Starkeel, and passes on Other."
    assert named in checklist.comparison_tables(row("fail", "pass"), row("fail", "pass"))
    assert "No row passes on another stack" in checklist.comparison_tables(
        row("fail", "fail"), row("fail", "fail")
    )


def test_every_row_passes_where_it_applies() -> None:
    assert {row.id: row.worst for row in RESULTS.rows if row.worst != "pass"} == {}


def test_the_tables_of_the_documentation_are_current() -> None:
    for path, text in checklist.files(ROOT).items():
        assert path.read_text("utf-8") == text, f"{path}: run `uv run just checklist`"


def test_a_row_is_in_the_table_with_all_its_verdicts() -> None:
    line = next(
        line for line in checklist.verdict_tables(RESULTS).splitlines() if line.startswith("| `tls-hsts` |")
    )
    row = next(row for row in RESULTS.rows if row.id == "tls-hsts")
    assert line.count("pass") == list(row.verdicts.values()).count("pass") > 0
    assert line.count("n/a") == list(row.verdicts.values()).count("not applicable") > 0


@pytest.fixture
def failing(tmp_path: Path) -> Trial:
    (tmp_path / "pod.yaml").write_text(POD)
    return run(Subject(name="pod", keys={"manifests": {"path": str(tmp_path / "pod.yaml")}}), tmp_path)


def test_a_row_that_does_not_pass_is_a_problem(failing: Trial) -> None:
    [row] = [row for row in results_of([failing]).rows if row.id == "manifests-image-tag"]
    assert row.worst == "fail"
    assert "manifests-image-tag" in failing.text


def test_a_verdict_that_changed_is_listed(failing: Trial) -> None:
    after = results_of([failing])
    assert list(differences(after, after, ["pod"])) == []
    assert list(differences(RESULTS, after, ["pod"])) == ["pod: has no verdicts in the documentation yet"]
    before = Results([replace(row, verdicts={"pod": "pass"}) for row in after.rows])
    assert "manifests-image-tag, pod: pass -> fail" in list(differences(before, after, ["pod"]))
    assert "manifests-image-tag, pod: absent -> fail" in list(
        differences(Results(before.rows[:1]), after, ["pod"])
    )


def test_the_keys_of_a_subject_are_removed_after_the_run(failing: Trial) -> None:
    assert sorted(path.name for path in failing.folder.iterdir()) == [
        "report.html",
        "report.json",
        "report.terminal",
    ]


def test_an_image_needs_a_name_and_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"give it a name, as in --image orders=shop\.tar"):
        images(["shop.tar"])
    [subject] = images([f"shop={tmp_path}/absent.tar"])
    with pytest.raises(TrialError, match=r"image shop: .*absent\.tar"):
        run(subject, tmp_path)


_KEYS = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.one_of(_TEXTS, st.integers(-(2**31), 2**31), st.booleans(), st.lists(_TEXTS, max_size=3))


@given(
    st.recursive(
        st.dictionaries(_KEYS, _VALUES, max_size=3),
        lambda tables: st.dictionaries(_KEYS, st.one_of(_VALUES, tables), max_size=3),
        max_leaves=8,
    )
)
def test_the_written_keys_are_those_that_are_read(keys: dict[str, Any]) -> None:
    assert tomllib.loads(toml(keys)) == keys


def test_a_token_of_a_run_replaces_the_command_for_one(tmp_path: Path) -> None:
    base = tmp_path / "seatrial.toml"
    base.write_text('[auth]\ntoken_command = ["token"]\nprotected_path = "/a"')
    keys = subject_keys(Subject(name="shop", keys={"auth": {"token": "x"}}, base=base))
    assert keys == {"auth": {"token": "x", "protected_path": "/a"}}


def test_keys_of_a_run_override_those_of_the_file() -> None:
    base = {"url": "a", "auth": {"scheme": "Bearer", "token": "x"}}
    expected = {"url": "a", "auth": {"scheme": "Bearer", "token": "y"}}
    assert merged(base, {"auth": {"token": "y"}}) == expected


def test_commands_stop_and_start_the_database() -> None:
    with controlled_database() as database, database.server.database() as url:
        port = urlsplit(url).port
        assert port is not None
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        run_command(database.command("stop"), cwd=ROOT)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        run_command(database.command("start"), cwd=ROOT)
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_rows_about_what_a_service_does_not_have_are_left_out() -> None:
    assert "lifecycle-websocket" in rows_for_absent({"stream_path": "/events"})
    assert "lifecycle-event-stream" not in rows_for_absent({"stream_path": "/events"})
    catalogue = json.loads(run_command([sys.executable, "-m", "seatrial", "rows", "--json"], cwd=ROOT))
    assert set(rows_for_absent({})) <= {row["id"] for row in catalogue if row["command"] == "drill"}


@contextmanager
def running_disturbed(name: str, environ: dict[str, str], folder: Path) -> Iterator[str]:
    port = free_port()
    own = {"ENVIRONMENT": "development", "HOST": "127.0.0.1", "PORT": str(port), "METRICS_PORT": "0"}
    command = [sys.executable, "-m", "tools.trial.disturbed", name]
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env={**inherited, **own, **environ}, stdout=output)
    try:
        wait_until(lambda: is_ready(port), timeout_s=90, what=f"{name} to be ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(60) == 0


def is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def test_the_routes_of_a_drill_are_behind_the_layers_of_the_service(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db", "REQUEST_TIMEOUT_SECONDS": "0.5"}
    with running_disturbed("accounts", environ, tmp_path) as url:
        assert httpx2.get(f"{url}{ENDLESS_PATH}", timeout=30).status_code == 504
        failed = httpx2.get(f"{url}{ERROR_PATH}", timeout=30)
    assert failed.status_code == 500
    assert failed.headers["content-type"] == "application/problem+json"
    assert "a fault of the program" not in failed.text
