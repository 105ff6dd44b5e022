"""Warnings about misspelled variables."""

import string
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starkeel_config import ConfigurationError, Secret, ServiceSettings, Variable, load, resolve


class Service(ServiceSettings, frozen=True, kw_only=True):
    url: Annotated[Secret, Variable("DATABASE_URL", service_default="sqlite:///x")]
    redis: Annotated[str | None, Variable("REDIS_URL")] = None
    most: Annotated[int, Variable("DB_MAX_CONNECTIONS")] = 20
    certificate: Annotated[str | None, Variable("TLS_CERT_FILE")] = None
    key: Annotated[str | None, Variable("TLS_KEY_FILE")] = None
    host: Annotated[str, Variable("HOST")] = "0.0.0.0"
    port: Annotated[int, Variable("PORT")] = 3000
    metrics_port: Annotated[int, Variable("METRICS_PORT")] = 9090
    workers: Annotated[int, Variable("WORKERS")] = 1
    level: Annotated[str, Variable("LOG_LEVEL")] = "info"
    endpoint: Annotated[str | None, Variable("OTEL_EXPORTER_OTLP_ENDPOINT")] = None
    headers: Annotated[Secret | None, Variable("OTEL_EXPORTER_OTLP_HEADERS")] = None
    sampler: Annotated[str | None, Variable("OTEL_TRACES_SAMPLER")] = None


KNOWN = [
    *["ENVIRONMENT", "DATABASE_URL", "REDIS_URL", "DB_MAX_CONNECTIONS", "TLS_CERT_FILE", "TLS_KEY_FILE"],
    *["METRICS_PORT", "WORKERS", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"],
    "OTEL_TRACES_SAMPLER",
]
LETTERS = string.ascii_uppercase + "_"


def warnings(environ: dict[str, str]) -> tuple[str, ...]:
    return resolve(Service, environ, service="orders").warnings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DATABASE_ULR", "DATABASE_URL"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DATABASE_URLL", "DATABASE_URL"),
        ("DATABASE_URL_FIEL", "DATABASE_URL_FILE"),
        ("TSL_CERT_FILE", "TLS_CERT_FILE"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("WORKER", "WORKERS"),
        ("PROT", "PORT"),
        ("HSOT", "HOST"),
        ("redis_url", "REDIS_URL"),
    ],
)
def test_a_name_one_edit_away_causes_a_warning(name: str, meant: str) -> None:
    assert warnings({name: "hushhush"}) == (f"{name} is not read by this service: did you mean {meant}?",)


@pytest.mark.parametrize("name", [*KNOWN, "DATABASE_URL_FILE", "PORT_FILE", "HOST_FILE", "LOG_LEVEL_FILE"])
def test_a_correct_name_causes_no_warning(name: str) -> None:
    try:
        found = warnings({name: "1"})
    except ConfigurationError as error:
        found = error.warnings

    assert found == ()


OTHERS = """
    HOME HOSTNAME HOSTS HOSTFILE GHOST POST SORT PORTS PATH PWD USER SHELL LANG TERM TZ TMPDIR
    EDITOR PAGER HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR
    REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE POSTGRES_USER
    POSTGRES_PASSWORD POSTGRES_DB MYSQL_HOST REDIS_HOST REDIS_PORT REDIS_URL2 DATABASE_URL_2
    DATABASE_HOST WEB_CONCURRENCY GRANIAN_WORKERS GRANIAN_PORT UVICORN_PORT UVICORN_WORKERS
    LITESTAR_APP PYTHONPATH PYTHONUNBUFFERED VIRTUAL_ENV UV_CACHE_DIR PROMETHEUS_MULTIPROC_DIR
    KUBERNETES_SERVICE_HOST KUBERNETES_PORT ACCOUNTS_SERVICE_HOST ACCOUNTS_PORT_3000_TCP_ADDR
    DOCKER_HOST OTEL_SDK_DISABLED OTEL_RESOURCE_ATTRIBUTES OTEL_SERVICE_NAME OTEL_LOG_LEVEL
    OTEL_PROPAGATORS OTEL_TRACES_SAMPLER_ARG OTEL_TRACES_EXPORTER OTEL_METRICS_EXPORTER
    OTEL_LOGS_EXPORTER OTEL_BSP_SCHEDULE_DELAY OTEL_BSP_EXPORT_TIMEOUT OTEL_BSP_MAX_QUEUE_SIZE
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE OTEL_BLRP_SCHEDULE_DELAY OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT OTEL_EXPORTER_OTLP_LOGS_ENDPOINT
    OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_TIMEOUT
    OTEL_EXPORTER_OTLP_COMPRESSION OTEL_EXPORTER_OTLP_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_KEY
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_INSECURE OTEL_ATTRIBUTE_COUNT_LIMIT
    OTEL_SPAN_EVENT_COUNT_LIMIT OTEL_METRIC_EXPORT_INTERVAL OTEL_METRIC_EXPORT_TIMEOUT
    OTEL_PYTHON_CONTEXT
"""


def test_variables_of_other_programs_cause_no_warning() -> None:
    assert warnings(dict.fromkeys(OTHERS.split(), "1")) == ()


def test_a_kubernetes_service_link_causes_no_warning() -> None:
    # Set by a Service named `metric` in every pod of its namespace.
    assert warnings({"METRIC_PORT": "tcp://10.0.0.1:9090"}) == ()


def test_a_misspelled_name_without_a_value_causes_no_warning() -> None:
    assert warnings({"DATABASE_ULR": ""}) == ()


def test_a_configuration_error_lists_misspelled_names() -> None:
    class Strict(ServiceSettings, frozen=True, kw_only=True):
        url: Annotated[Secret, Variable("DATABASE_URL")]

    with pytest.raises(ConfigurationError) as caught:
        load(Strict, {"DATABASE_ULR": "hushhush"}, service="orders")

    assert caught.value.warnings == ("DATABASE_ULR is not read by this service: did you mean DATABASE_URL?",)
    assert caught.value.warnings[0] in str(caught.value)
    assert "hushhush" not in str(caught.value)


def test_a_misspelled_name_in_the_env_file_causes_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKESR=2")

    resolved = resolve(Service, {"ENVIRONMENT": "development"}, service="orders", dotenv=tmp_path / ".env")

    assert resolved.warnings == ("WORKESR is not read by this service: did you mean WORKERS?",)


def without_one(name: str) -> set[str]:
    return {name[:at] + name[at + 1 :] for at in range(len(name))}


def is_one_edit(name: str, target: str) -> bool:
    """Return whether inserting, deleting or replacing one character, or swapping two, converts the names."""
    if name in without_one(target) or target in without_one(name):
        return True
    different = [at for at, pair in enumerate(zip(name, target, strict=False)) if pair[0] != pair[1]]
    if len(name) != len(target) or not different:
        return False
    first, last = different[0], different[-1]
    return first == last or (first + 1 == last and name[first : last + 1] == target[first : last + 1][::-1])


def is_deletion_and_insertion(name: str, target: str) -> bool:
    return len(name) == len(target) and not without_one(name).isdisjoint(without_one(target))


@st.composite
def edited(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(KNOWN))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(name) - 1))
        letter = draw(st.sampled_from(LETTERS))
        name = draw(
            st.sampled_from(
                [
                    name[:at] + letter + name[at:],
                    name[:at] + letter + name[at + 1 :],
                    name[:at] + name[at + 1 :],
                    name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
                ]
            )
        )
    return name


@settings(max_examples=500, deadline=None)
@given(edited())
def test_names_one_edit_away_and_no_distant_ones_cause_a_warning(name: str) -> None:
    assume(name not in KNOWN)
    names = {*KNOWN, "DATABASE_URL_FILE", "OTEL_EXPORTER_OTLP_HEADERS_FILE"}

    text = "".join(warnings({name: "1"}))

    intended = set(text.partition("did you mean ")[2].rstrip("?").split(" or ")) - {""}
    assert {each for each in names if is_one_edit(name, each)} <= intended
    assert all(is_one_edit(name, each) or is_deletion_and_insertion(name, each) for each in intended)


@given(st.text(), st.text())
def test_unusual_names_and_values_never_raise(name: str, value: str) -> None:
    assume(name not in KNOWN and not name.endswith("_FILE") and name not in {"HOST", "PORT"})

    assert all("is not read by this service" in warning for warning in warnings({name: value}))
