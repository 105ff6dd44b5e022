"""Settings, and error messages for invalid ones."""

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_config import ConfigurationError, load, resolve
from starkeel_observability import LogLevels, ObservabilitySettings

LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40, "off": 1000}
levels = st.sampled_from(sorted(LEVELS))
targets = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}(\.[A-Za-z0-9_]{1,8}){0,3}", fullmatch=True)


def loaded(**environ: str) -> ObservabilitySettings:
    return load(ObservabilitySettings, environ, service="orders")


def refused(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        loaded(**environ)
    return str(error.value)


def test_defaults_are_those_of_production() -> None:
    settings = loaded()

    assert (settings.log_format, str(settings.log_level), settings.service_name) == ("json", "info", "orders")
    assert settings.traces_url is None
    assert loaded(ENVIRONMENT="development").log_format == "auto"


@given(default=levels, directives=st.dictionaries(targets, levels, max_size=5))
def test_levels_are_parsed(default: str, directives: dict[str, str]) -> None:
    text = ",".join([default, *(f"{target}={level}" for target, level in directives.items())])

    parsed = LogLevels.parse(text)

    assert str(parsed) == text
    assert LogLevels.parse(str(parsed)) == parsed
    for target, level in directives.items():
        assert parsed.of(target) == LEVELS[level]
        longer = f"{target}.below"
        if longer not in directives:
            assert parsed.of(longer) == LEVELS[level]
        if (
            not any(f"{target}x".startswith(f"{other}.") for other in directives)
            and f"{target}x" not in directives
        ):
            assert parsed.of(f"{target}x") == LEVELS[default]


@given(st.text(alphabet="aiInfo=,. \n=rdebugé-", max_size=40))
def test_any_text_is_valid_or_rejected_with_a_reason(text: str) -> None:
    try:
        parsed = LogLevels.parse(text)
    except ValueError as error:
        message = str(error)
    else:
        message = str(parsed)
        assert LogLevels.parse(message) == parsed
    assert message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("loud", "'loud' is not a level"),
        ("info,orders=loud", "'loud' is not a level"),
        ("info,debug", "'debug' is a second default level"),
        ("info,orders=debug,orders=info", "'orders' has two levels"),
        ("info,a b=debug", "'a b' is not a valid logger name"),
        ("info,=debug", "'' is not a valid logger name"),
        (",", "it contains no level"),
    ],
)
def test_invalid_levels_are_named(text: str, why: str) -> None:
    message = refused(LOG_LEVEL=text)

    assert f"LOG_LEVEL is '{text}': {why}" in message
    assert "orders=debug" in message


def test_the_default_level_is_info() -> None:
    parsed = LogLevels.parse("sqlalchemy.engine=WARNING")

    assert (parsed.of("sqlalchemy.engine.Engine"), parsed.of("sqlalchemy"), parsed.of("x")) == (30, 20, 20)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp"}, "https://c/otlp/v1/traces"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/x",
            },
            "http://d/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_traces_url_follows_the_specification(environ: dict[str, str], url: str | None) -> None:
    assert loaded(**environ).traces_url == url


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:99999"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_TRACES_SAMPLER_ARG": "1.5"},
        {"OTEL_RESOURCE_ATTRIBUTES": "team"},
        {"OTEL_BSP_SCHEDULE_DELAY": "soon"},
        {"LOG_FORMAT": "xml"},
    ],
)
def test_invalid_values_are_named(environ: dict[str, str]) -> None:
    (name,) = environ

    assert f"{name} is '{environ[name]}'" in refused(**environ)


def test_batches_do_not_exceed_the_queue() -> None:
    message = refused(OTEL_BSP_MAX_QUEUE_SIZE="100", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="101")

    assert "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is 101; accepted: at most OTEL_BSP_MAX_QUEUE_SIZE, 100" in message


@pytest.mark.parametrize("text", ["hunter2", "a=b,hunter2", "a b=hunter2", "a=hunter2%0d%0a"])
def test_invalid_headers_are_rejected_without_showing_them(text: str) -> None:
    message = refused(OTEL_EXPORTER_OTLP_HEADERS=text)

    assert "OTEL_EXPORTER_OTLP_HEADERS" in message
    assert "hunter2" not in message


def test_credentials_of_the_endpoint_are_not_in_its_repr() -> None:
    settings = loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://user:hunter2@collector:4318")

    assert "hunter2" not in repr(settings)
    assert settings.traces_url == "http://user:hunter2@collector:4318/v1/traces"


def test_headers_are_never_shown() -> None:
    resolved = resolve(
        ObservabilitySettings, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2"}, service="orders"
    )

    assert "hunter2" not in repr(resolved)
    assert resolved.settings.collector_headers() == {"authorization": "hunter2"}


def test_missing_grpc_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    message = refused(OTEL_EXPORTER_OTLP_PROTOCOL="grpc")

    assert "starkeel-observability[grpc]" in message


def test_the_version_is_explicit_or_that_of_a_distribution() -> None:
    assert re.match(r"\d+\.", load(ObservabilitySettings, {}, service="starkeel-config").version)
    assert loaded(SERVICE_VERSION="distribution:no-such-thing").version == "0"
    assert loaded(SERVICE_VERSION="2026.1").version == "2026.1"


def test_an_invalid_setting_exits_with_78(samples: Any) -> None:
    sample = samples.start(LOG_LEVEL="loud", OTEL_EXPORTER_OTLP_HEADERS="hunter2")

    assert sample.wait() == 78
    assert "LOG_LEVEL is 'loud'" in sample.output
    assert "hunter2" not in sample.output


def test_reading_settings_imports_neither_metrics_nor_traces() -> None:
    program = (
        "import sys\n"
        "from starkeel_observability import ObservabilitySettings\n"
        "heavy = ('prometheus_client', 'opentelemetry', 'litestar', 'structlog')\n"
        "sys.exit(str([name for name in heavy if name in sys.modules] or ''))\n"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (finished.returncode, finished.stderr) == (1, "\n") or finished.returncode == 0, finished.stderr
