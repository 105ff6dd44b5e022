"""Exit codes, errors, selection and budgets of the command line."""

import json
import socket
from pathlib import Path

import pytest
from command import CONFIG, report, rows_of, seatrial
from reference_server import running


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["check"], "no URL"),
        (["check", "ftp://localhost"], "not an http:// or https:// URL"),
        (["check", "http://localhost:99999"], "is not a URL"),
        (["check", "http://user:secret-word@localhost"], "must have no user"),
        (["check", "http://seatrial.invalid"], "cannot resolve 'seatrial.invalid'"),
        (["check", "http://localhost", "--only", "health-livenes"], "similar: health-liveness"),
        (["check", "http://localhost", "--only", "health", "--skip", "health"], "no row"),
        (["check", "http://localhost", "--config", "absent.toml"], "absent.toml: No such file"),
        (["check", "http://localhost", "--baseline", "absent.json"], "absent.json: No such file"),
        (["check", "http://localhost", "--output", "a", "--output", "b"], "more files than formats"),
        (["explain", "no-row"], "unknown row 'no-row'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], text: str, tmp_path: Path) -> None:
    done = seatrial(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret-word" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("url = ", "not valid TOML"),
        ("urll = 'a'", "unknown key urll; did you mean url?"),
        ("[auth]\ntokn = 'a'", "unknown key auth.tokn; did you mean auth.token?"),
        ("auth = 'a'", "auth: a table is expected"),
        ("only = 'health'", "only: an array of strings is expected"),
        ("timeout_s = true", "timeout_s: a number is expected"),
        ("timeout_s = 1000", "timeout_s: 1000 is not between 0.1 and 60"),
        ("timeout_s = nan", "timeout_s: nan is not between 0.1 and 60"),
        ("[safe_write]\nmethod = 'GET'", "safe_write.method: 'GET' is not POST, PUT or PATCH"),
        ("[safe_read]\npath = '/a b'", "safe_read.path: '/a b' is not a path"),
        (
            "[auth]\ntoken = 'a'\ntoken_file = 'b'",
            "auth: token, token_file and token_command exclude one another",
        ),
    ],
)
def test_wrong_configuration_names_the_key(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text(text)
    done = seatrial("check", "http://localhost", cwd=tmp_path)
    assert done.returncode == 2
    assert f"seatrial.toml: {problem}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_unreachable_service_could_not_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = seatrial("check", f"http://127.0.0.1:{port}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot reach http://127.0.0.1:{port}" in done.stderr


def test_exit_codes_of_verdicts(tmp_path: Path) -> None:
    def code(*arguments: str) -> int:
        only = ("--only", "auth-alg-none", "--only", "health-liveness")
        return seatrial("check", server.url, *only, *arguments, cwd=tmp_path).returncode

    with running() as server:
        assert code() == 0
        assert code("--require", "auth-alg-none") == 1, "a required row without a token is no pass"
        assert code("--skip", "health-liveness") == 2, "no row could be judged"


def test_catalogue_has_one_row_a_line(tmp_path: Path) -> None:
    listed = seatrial("rows", cwd=tmp_path)
    catalogue = json.loads(seatrial("rows", "--json", cwd=tmp_path).stdout)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [row["id"] for row in catalogue]
    for row in catalogue:
        assert all(row[key].strip() for key in ("title", "why", "source", "how", "fix")), row["id"]


def test_explanation_has_all_texts(tmp_path: Path) -> None:
    shown = seatrial("explain", "edge-host", cwd=tmp_path).stdout
    assert all(part in shown for part in ("Why", "How it is judged", "RFC 9112", "Fix"))
    assert max(map(len, shown.splitlines())) <= 80


def test_budget_of_requests_makes_rows_unknown(tmp_path: Path) -> None:
    (tmp_path / "seatrial.toml").write_text(CONFIG)
    with running() as server:
        document = report("check", server.url, "--request-budget", "40", cwd=tmp_path)
    assert document["requests"] <= 40
    reasons = {row["reason"] for row in document["rows"] if row["verdict"] == "unknown"}
    assert "the request budget of 40 is used up; raise --request-budget" in reasons


def test_budget_of_time_makes_rows_unknown(tmp_path: Path) -> None:
    with running("slow probes") as server:
        found = rows_of(server, "--time-budget", "3", "--only", "health", cwd=tmp_path)
    assert found["health-fast"]["verdict"] == "unknown"
    assert "time budget of 3 s" in found["health-fast"]["reason"]


def test_baseline_fails_on_regressions_only(tmp_path: Path) -> None:
    def run(server_url: str) -> tuple[int, list[dict[str, object]]]:
        done = seatrial(
            *("check", server_url, "--only", "edge-n*"),
            *("--baseline", "before.json", "--format", "json"),
            cwd=tmp_path,
        )
        return done.returncode, json.loads(done.stdout)["changes"]

    (tmp_path / "seatrial.toml").write_text(CONFIG)
    with running("sniffing") as server:
        before = seatrial("check", server.url, "--only", "edge-n*", "--format", "json", cwd=tmp_path)
        assert before.returncode == 1
        (tmp_path / "before.json").write_text(before.stdout)
        assert run(server.url) == (0, [])
    with running("framing") as server:
        code, changes = run(server.url)
    assert code == 1
    assert changes == [
        {"row": "edge-no-sniffing", "before": "fail", "after": "pass", "is_regression": False},
        {"row": "edge-no-framing", "before": "pass", "after": "fail", "is_regression": True},
    ]
