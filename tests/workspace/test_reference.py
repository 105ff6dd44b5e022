"""The generated reference, compared with running services and with the settings of the logs."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from starkeel_observability._logs.access_line import FIELDS as ACCESS_FIELDS
from starkeel_observability._logs.record import RESERVED
from starkeel_testing import OtlpReceiver, Service, running, running_redis, wait_until

from tests.support.registry_fleet import running_services
from tools.generate.reference import logs, metrics, server, source, spans
from tools.registry import read

ROOT = Path(__file__).parents[2]
SERVICES = [each.name for each in read()]
REFERENCE = ROOT / "docs/reference"
_ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_SERIES = re.compile(r"^([a-z_:]+)\{([^}]*)\}", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of the documented metrics."""
    found = {}
    for line in (REFERENCE / "metrics.md").read_text("utf-8").splitlines():
        if line.startswith("| `"):
            name, kind, labels, _ = (cell.strip() for cell in line.strip("| ").split(" | ", 3))
            found[name.strip("`")] = kind, set(re.findall(r"`(\w+)`", labels))
    return found


@pytest.fixture(scope="module")
def fleet() -> Iterator[dict[str, Service]]:
    with running_redis() as redis, running_services({"REDIS_URL": redis.url}) as services:
        yield services


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_of_a_running_service_are_documented(service: str, fleet: dict[str, Service]) -> None:
    known = documented()
    process = fleet[service]
    process.client.get("/nowhere")
    wait_until(
        lambda: process.metric("http_requests_total", status="404") > 0, timeout_s=10, what="the count"
    )
    exposed = process.client.get(f"{process.admin_url}/metrics").text

    for name, kind in _TYPE.findall(exposed):
        assert known[name][0] == kind, name
    for sample, labels in _SERIES.findall(exposed):
        name = sample if sample in known else re.sub(r"_(bucket|sum|count|created)$", "", sample)
        given = set(re.findall(r'(\w+)="', labels)) - {"le", "pid"}
        assert given == known[name][1], sample


@pytest.mark.parametrize("service", SERVICES)
def test_lines_of_the_start_are_documented(service: str, fleet: dict[str, Service]) -> None:
    known = set(_ROW.findall((REFERENCE / "log-lines.md").read_text("utf-8")))
    written = {str(line["message"]) for line in fleet[service].logs() if "granian" not in str(line["target"])}

    assert {"starting application", "listening", "workers started"} <= written
    assert written - known <= {"request completed"}


@pytest.mark.parametrize("service", SERVICES)
def test_admin_endpoints_are_those_of_the_index_page(service: str, fleet: dict[str, Service]) -> None:
    page = fleet[service].client.get(f"{fleet[service].admin_url}/").text
    listed = dict(re.findall(r'<a href="([^"]+)">[^<]*</a> ([^(<\n]*)', page))
    rows = re.findall(r"^\| `(/[^`]*)` \| ([^|]*) \|", server.render_endpoints(ROOT), re.MULTILINE)

    assert {path: title for path, title in rows if path != "/"} == {
        path: unescape(title).strip() for path, title in listed.items()
    }


def test_attributes_of_a_received_span_are_documented(otlp: OtlpReceiver) -> None:
    known = set(_ROW.findall((REFERENCE / "span-attributes.md").read_text("utf-8")))
    with running(SERVICES[0], {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint}) as service:
        service.client.get("/nowhere")
        spans = otlp.wait_for(lambda spans: any("url.path" in span.attributes for span in spans))

    assert {name for span in spans for name in span.attributes} <= known


def test_fields_of_every_line_are_described() -> None:
    assert set(logs.FIELDS) == RESERVED
    assert set(logs.ACCESS_FIELDS) | RESERVED == ACCESS_FIELDS


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('counter("things", "Things.", labels=("kind",))', ("things_total", "counter", ("kind",), "Things.")),
        ('gauge("size_bytes", "Size.", combined="max")', ("size_bytes", "gauge", (), "Size.")),
        ('LABELS = ("a", "b")\nhistogram("t_s", "T", labels=LABELS)', ("t_s", "histogram", ("a", "b"), "T")),
    ],
)  # fmt: skip
def test_a_metric_is_found_in_the_source(code: str, expected: tuple[object, ...]) -> None:
    assert [tuple(found) for found in metrics.metrics_of(source.ast.parse(code))] == [expected]


def test_a_metric_whose_help_is_computed_is_refused() -> None:
    with pytest.raises(SystemExit, match="the help of the metric things_total is no literal"):
        list(metrics.metrics_of(source.ast.parse('counter("things_total", describe())')))


def test_an_attribute_without_a_description_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(spans.MEANINGS, "url.path")
    with pytest.raises(SystemExit, match=r"MEANINGS: describe url\.path"):
        spans.render(ROOT)


def test_a_description_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(server.MEANINGS, "RETIRED", "no longer used")
    with pytest.raises(SystemExit, match="MEANINGS: remove RETIRED"):
        server.render_exit_codes(ROOT)
