"""Format of log lines, redaction and limits."""

import json
import socket
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_observability._logs.sanitize import mask

OWN = ["timestamp", "level", "target", "message"]
LAST = ["file", "line", "threadId", "trace_id", "span_id", "request_id", "service", "version"]


@pytest.fixture(scope="module")
def logged(sample: Any) -> Any:
    """The sample after it has logged a value of every kind."""
    assert sample.get("/logs", **{"X-Request-ID": "logs"}).status_code == 200
    sample.wait_for_log("request completed", request_id="logs")
    return sample


@pytest.fixture
def everything(logged: Any) -> dict[str, Any]:
    line: dict[str, Any] = logged.wait_for_log("everything")
    return line


def test_own_fields_are_first_and_last_in_a_line(logged: Any) -> None:
    line = logged.wait_for_log("hello a***@example.com")

    assert list(line) == OWN + LAST
    assert (line["level"], line["target"], line["service"], line["version"]) == (
        "INFO",
        "sample.app",
        "sample",
        "0",
    )
    assert line["file"] == "sample/app.py"
    assert isinstance(line["line"], int)
    assert isinstance(line["threadId"], int)
    assert line["timestamp"].endswith("Z")
    assert len(line["timestamp"]) == len("2026-01-02T03:04:05.678901Z")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_fields_with_reserved_names_are_renamed(everything: dict[str, Any]) -> None:
    given = {
        "timestamp": "never",
        "level": "LOUD",
        "target": "elsewhere",
        "message": "other",
        "event": "an event",
        "file": "x",
        "line": 1,
        "threadId": 1,
        "trace_id": "t",
        "span_id": "s",
        "request_id": "r",
        "service": "another",
        "version": "99",
        "exception": "none",
    }
    for name, value in given.items():
        assert everything[f"field_{name}"] == value
        assert everything.get(name) != value
    assert everything["request_id"] == "logs"
    assert everything["level"] == "WARN"


def test_secrets_are_not_in_the_output(logged: Any, everything: dict[str, Any]) -> None:
    assert "hunter2" not in logged.output
    assert everything["password"] == "***"
    assert everything["secret"] == "***"
    assert everything["headers"] == {"Authorization": "***", "Cookie": "***", "Accept": "*/*"}
    assert everything["accounts"] == [{"email": "a***@example.com", "password": "***"}]
    assert everything["token_type"] == "bearer"


def test_email_addresses_are_masked_everywhere(logged: Any, everything: dict[str, Any]) -> None:
    assert "ann@example.com" not in logged.output
    assert everything["email"] == "a***@example.com"
    assert everything["note"] == "write to a***@example.com or see https://***@example.com/"


def test_personal_data_in_tracebacks_is_masked(logged: Any) -> None:
    described = logged.wait_for_log("caught")["exception"]

    assert described.keys() == {"type", "message", "stack", "frames"}
    assert (described["type"], described["message"]) == ("ValueError", "no such user: a***@example.com")
    assert described["stack"].startswith("Traceback (most recent call last):")
    assert described["stack"].endswith("ValueError: no such user: a***@example.com")


def test_values_of_every_kind_are_written(everything: dict[str, Any]) -> None:
    assert everything["at"] == "2026-01-02T00:00:00+00:00"
    assert everything["id"] == "00000000-0000-0000-0000-000000000007"
    assert everything["colour"] == "red"
    assert everything["raw"] == "\\xff\x00ok"
    assert everything["nan"] == "nan"
    assert everything["large"] == str(2**200)
    assert everything["broken"] == "<Broken that cannot be shown>"
    assert everything["surrogate"] == "\\ud800"
    assert everything["none"] is None


def test_values_are_bounded(logged: Any, everything: dict[str, Any]) -> None:
    assert everything["huge"].startswith("yyy")
    assert everything["huge"].endswith("... (91808 more characters)")
    assert "..." in json.dumps(logged.wait_for_log("cycle")["cycle"])


def test_control_characters_are_escaped_in_the_bytes_and_kept_in_the_value(
    logged: Any, everything: dict[str, Any]
) -> None:
    assert everything["controls"] == "a\nb\x1b[31m\x9b\u2028c\x7f"
    raw = next(line for line in logged.lines if '"everything"' in line)
    assert not {"\x1b", "\x9b", "\u2028", "\x7f"} & set(raw)
    assert raw.count("\n") == 1


def test_standard_library_records_are_lines(logged: Any) -> None:
    line = logged.wait_for_log("stdlib a***@example.com")

    assert (line["level"], line["target"], line["order"], line["password"]) == (
        "WARN",
        "sample.stdlib",
        7,
        "***",
    )
    assert (line["request_id"], line["file"]) == ("logs", "sample/app.py")
    assert logged.wait_for_log("wrong arguments %s %s ('one',)")["level"] == "ERROR"


def test_granian_records_are_lines_except_its_access_log(logged: Any) -> None:
    assert logged.wait_for_log("from granian")["target"] == "_granian"
    assert logged.wait_for_log("from granian's worker")["target"] == "granian.worker"
    logged.wait_for_log("old ways")
    assert not logged.found("from granian's access log")


def test_warnings_are_lines(logged: Any) -> None:
    line = logged.wait_for_log("old ways")

    assert (line["target"], line["category"], line["file"]) == ("py.warnings", "UserWarning", "sample/app.py")


def test_uncaught_exceptions_are_lines(logged: Any) -> None:
    thread = logged.wait_for_log("uncaught exception in a thread")
    loop = logged.wait_for_log("loop trouble")

    assert (thread["thread"], thread["exception"]["type"]) == ("divider", "ZeroDivisionError")
    assert (loop["target"], loop["exception"]["type"]) == ("asyncio", "KeyError")


def test_stderr_is_empty(logged: Any) -> None:
    assert logged.errors == []


def test_levels_are_set_for_each_logger(samples: Any) -> None:
    sample = samples.ready(
        LOG_LEVEL="warn,starkeel_server=info,sample=debug,sample.stdlib=error,granian=info"
    )
    sample.get("/items/1")
    sample.get("/logs")

    assert sample.wait_for_log("item looked at")["level"] == "DEBUG"
    sample.wait_for_log("loop trouble")
    assert sample.found("from granian's worker")
    assert not sample.found("request completed")
    assert not sample.found("stdlib a***@example.com")
    assert sample.found("wrong arguments %s %s ('one',)")


def test_logging_can_be_disabled(samples: Any) -> None:
    sample = samples.start(LOG_LEVEL="off,starkeel_server=info").wait_until_ready()
    sample.get("/logs")

    assert sample.stop() == 0
    assert {line["target"].split(".")[0] for line in sample.logs} == {"starkeel_server"}


def test_an_error_at_start_is_a_line(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sample = samples.start(PORT=port, OTEL_SERVICE_NAME="other-name", SERVICE_VERSION="1.2.3")
        assert sample.wait() == 71

    assert str(port) in sample.wait_for_log("could not start")["reason"]
    assert all((line["service"], line["version"]) == ("other-name", "1.2.3") for line in sample.logs)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /x?a=1&access_token=hunter2&b=2", "GET /x?a=1&access_token=***&b=2"),
        ("/x?client%5Fsecret=hunter2", "/x?client%5Fsecret=***"),
        ("https://c/y?sig=hunter2", "https://c/y?sig=***"),
        ("https://c/y?X-Amz-Signature=hunter2", "https://c/y?X-Amz-Signature=***"),
        ("host=db password=hunter2 user=ann", "host=db password=*** user=ann"),
        ("password='hunter2 hunter2' user=ann", "password=*** user=ann"),
        ('{"a": 1, "password": "hun\\"ter2", "b": 2}', '{"a": 1, "password": ***, "b": 2}'),
        ("{'apiKey': b'hunter2'}", "{'apiKey': ***}"),
        ("Login(user='ann', passphrase='hunter2')", "Login(user='ann', passphrase=***)"),
        ('{"password": "hunter2', '{"password": ***'),
        ("redis://:hunter2@host/0", "redis://***@host/0"),
        ("[(b'x-api-key', b'hunter2'), (b'accept', b'x')]", "[(b'x-api-key', ***), (b'accept', b'x')]"),
        # Names that describe a secret, or that are not secret.
        ("?token_type=bearer&sort=name", "?token_type=bearer&sort=name"),
        ("WHERE id = $1 AND token = $2", "WHERE id = $1 AND token = $2"),
        ("a == b, c=1", "a == b, c=1"),
    ],
)
def test_named_secrets_in_a_text_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.text(st.sampled_from("token=&'\":b\\ x[](){}"), max_size=300))
def test_masking_is_idempotent(text: str) -> None:
    once = mask(text)

    assert mask(once) == once
