"""Services as separate processes: observation, and checks at their end."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starkeel_testing import Service, exits, running


@pytest.fixture
def sample(sample_env: dict[str, str]) -> Iterator[Service]:
    with running("sample", sample_env) as service:
        yield service


def test_a_service_listens_on_free_ports(sample: Service) -> None:
    assert sample.client.get("/health/ready").status_code == 200
    assert sample.url.startswith("http://127.0.0.1:")
    assert sample.admin_url.startswith("http://127.0.0.1:")
    assert sample.url != sample.admin_url
    assert sample.process.poll() is None


def test_a_service_has_a_minimal_environment_and_an_empty_directory(
    sample_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user@example.com/production")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("SAMPLE_FAULT='is never ready'\n")

    with running("sample", sample_env | {"SHUTDOWN_GRACE_SECONDS": "7"}) as service:
        environ = service.client.get("/environ").json()

    assert "DATABASE_URL" not in environ
    assert environ["PATH"] == os.environ["PATH"]
    assert (environ["ENVIRONMENT"], environ["LOG_FORMAT"], environ["PORT"]) == ("development", "json", "0")
    assert (environ["DRAIN_DELAY_SECONDS"], environ["SHUTDOWN_GRACE_SECONDS"]) == ("0", "7")
    assert Path(environ["cwd"]) != tmp_path
    assert not Path(environ["cwd"]).exists()


def test_given_variables_override_the_defaults(sample_env: dict[str, str]) -> None:
    with running("sample", sample_env | {"ENVIRONMENT": "production"}) as service:
        assert service.client.get("/environ").json()["ENVIRONMENT"] == "production"


def test_other_lines_than_log_lines_are_output_only(sample_env: dict[str, str]) -> None:
    with running("sample", sample_env | {"SAMPLE_FAULT": "writes no log lines"}) as service:
        for text in ("plain words", '{"broken', "[1]", '"text"', '{"no": "message"}', '{"message": 1}'):
            assert text in service.output()
        assert all(isinstance(line["message"], str) for line in service.logs())
        assert service.wait_for_log("\ufffd")


def test_much_output_does_not_block_a_service(sample_env: dict[str, str]) -> None:
    with running("sample", sample_env | {"SAMPLE_FAULT": "writes much"}) as service:
        output = service.output()

    assert output.count("x" * 100 + "\n") == output.count("y" * 100 + "\n") == 20_000


def test_a_log_line_is_found_by_its_message_and_fields(sample: Service) -> None:
    for place in ("here", "there"):
        sample.client.get(f"/hit/first/{place}")

    assert sample.wait_for_log("hit")["place"] == "here"
    assert sample.wait_for_log("hit", place="there")["kind"] == "first"
    assert sample.wait_for_log_where(lambda line: line.get("place") == "there")["kind"] == "first"
    assert [line["place"] for line in sample.logs() if line["message"] == "hit"] == ["here", "there"]


def test_a_missing_log_line_fails_with_the_output(sample: Service) -> None:
    with pytest.raises(AssertionError, match=r"'place': 'nowhere'(.|\n)*listening"):
        sample.wait_for_log("hit", place="nowhere", timeout_s=0.1)


def test_waiting_for_a_log_line_ends_with_the_service(sample: Service) -> None:
    assert sample.terminate() == 0
    assert sample.wait_for_log("shutdown complete")

    with pytest.raises(AssertionError, match=r"before it ended with 0(.|\n)*shutdown complete"):
        sample.wait_for_log("hit", timeout_s=10_000)


def test_a_metric_is_the_sum_of_the_series_with_the_labels(sample: Service) -> None:
    assert sample.metric("sample_hits_total") == 0.0
    for path in ("a/x", "a/y", "a/y", "b/y"):
        sample.client.get(f"/hit/{path}")

    assert sample.metric("sample_hits_total") == 4.0
    assert sample.metric("sample_hits_total", kind="a") == 3.0
    assert sample.metric("sample_hits_total", kind="a", place="y") == 2.0
    assert sample.metric("sample_hits_total", kind="c") == 0.0
    assert sample.metric("unknown") == 0.0
    assert {"kind": "b", "place": "y"} in [each.labels for each in sample.metrics()]


def test_a_test_may_stop_a_service(sample_env: dict[str, str]) -> None:
    with running("sample", sample_env) as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.wait() == 0
        assert service.terminate() == 0

    with running("sample", sample_env) as service:
        os.killpg(service.process.pid, signal.SIGKILL)
        assert service.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("fault", "message"),
    [("cannot be created", "the sample is broken"), ("is never ready", r"to be ready(.|\n)*listening")],
)
def test_a_service_that_does_not_start_fails_with_its_output(
    sample_env: dict[str, str], fault: str, message: str
) -> None:
    with (
        pytest.raises(AssertionError, match=message),
        running("sample", sample_env | {"SAMPLE_FAULT": fault}, timeout_s=15),
    ):
        raise RuntimeError("never reached")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("leaves a child", "sleep"),
        ("leaves a zombie", "zombies"),
        ("leaves a file", "forgotten-"),
        ("ends badly", "ended with 3"),
    ],
)
def test_leftovers_of_a_service_are_a_failure(
    sample_env: dict[str, str], alive: Callable[[int], list[int]], fault: str, message: str
) -> None:
    with (
        pytest.raises(AssertionError, match=message),
        running("sample", sample_env | {"SAMPLE_FAULT": fault}) as service,
    ):
        group = service.process.pid

    assert not alive(group)


def test_a_failed_test_raises_and_ends_the_service(
    sample_env: dict[str, str], alive: Callable[[int], list[int]]
) -> None:
    with (
        pytest.raises(RuntimeError, match="from the test"),
        running("sample", sample_env | {"SAMPLE_FAULT": "leaves a child"}) as service,
    ):
        raise RuntimeError("from the test")

    assert service.process.returncode == 0
    assert not alive(service.process.pid)


def test_a_failed_start_returns_the_exit_code_and_output(sample_env: dict[str, str]) -> None:
    finished = exits("sample", sample_env | {"PORT": "http", "WORKERS": "none"})

    assert finished.code == 78
    assert "PORT" in finished.output
    assert "WORKERS" in finished.output


def test_another_command_runs_to_its_end(sample_env: dict[str, str]) -> None:
    finished = exits("sample", sample_env, "openapi")

    assert finished.code == 0
    assert "/hit/{kind}/{place}" in finished.output


def test_a_service_that_does_not_exit_is_ended(sample_env: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match=r"still running after 15 s(.|\n)*starting application"):
        exits("sample", sample_env, timeout_s=15)
