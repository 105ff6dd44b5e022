"""Headers by which a sender decides: ignored from strangers, continued between services."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from starkeel_testing import OtlpReceiver, Service, running, wait_until

from tools.registry import read

from ..support.certificates import Authority
from ..support.programs import find_program, free_port

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "packages/client/tests"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {
    "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01",
    "tracestate": "vendor=value",
    "baggage": "tenant=someone-else",
    "X-Request-ID": "chosen-by-the-client",
}
TINY = {"X-Request-Timeout": "0.001"}
ELSEWHERE = "192.0.2.0/24"
MALFORMED_IDS = ["a b", "a" * 129, 'a"b', "ä"]
PUBLIC_PATHS = [path for service in read() for path in service.paths]
DEFAULTS = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


class Echo:
    """An upstream that keeps the headers of its requests."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                received.append(self.headers)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def upstream() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.stop()


@contextmanager
def service_of(upstream: Echo, otlp: OtlpReceiver, **env: str) -> Iterator[Service]:
    given = {
        "PYTHONPATH": str(SAMPLES),
        "ACCOUNTS_URL": f"http://{upstream.address}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running("client_sample", given | env) as service:
        yield service


def call(service: Service, upstream: Echo, headers: Mapping[str, str]) -> tuple[httpx2.Response, Message]:
    """Send a request; return its response, and what the service sent to its upstream."""
    response = service.client.get("/call", headers=headers)
    assert response.status_code == 200, response.text
    return response, upstream.received[-1]


OUTSIDE: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "a trusted proxy": ({"TRUSTED_PROXIES": "127.0.0.1"}, {"X-Forwarded-For": "203.0.113.7"}),
    "a trusted proxy that adds nothing": ({"TRUSTED_PROXIES": "127.0.0.1"}, {}),
    "a proxy that is not trusted": ({}, {"X-Forwarded-For": "203.0.113.7"}),
    "a proxy with Forwarded": ({}, {"Forwarded": "for=203.0.113.7"}),
    "a proxy with Via": ({}, {"Via": "1.1 varnish"}),
    "an address that is not internal": ({"INTERNAL_NETWORKS": "10.0.0.0/8"}, {}),
    "anyone in production": ({"ENVIRONMENT": "production"}, {}),
}


@pytest.mark.parametrize("sender", OUTSIDE)
def test_a_request_from_outside_starts_a_trace_without_deadline_and_baggage(
    upstream: Echo, otlp: OtlpReceiver, sender: str
) -> None:
    env, headers = OUTSIDE[sender]
    with service_of(upstream, otlp, **env) as service:
        response, sent = call(service, upstream, headers | GIVEN | TINY)

        trace_id = sent["traceparent"][3:35]
        assert trace_id != TRACE_ID
        assert sent["tracestate"] is None
        assert sent["baggage"] is None
        assert float(sent["X-Request-Timeout"]) > 1
        assert response.headers["x-request-id"] == sent["X-Request-ID"] == GIVEN["X-Request-ID"]
        line = service.wait_for_log_where(lambda line: line.get("path") == "/call")
        assert line["trace_id"] == trace_id
        (server,) = otlp.wait_for(lambda spans: len(spans) == 2, trace_id=trace_id, timeout_s=20)[1:]
        assert (server.kind, server.parent_span_id, server.links) == ("server", "", ((TRACE_ID, SPAN_ID),))
        assert otlp.spans(TRACE_ID) == []


def test_a_stranger_does_not_choose_which_requests_are_recorded(upstream: Echo, otlp: OtlpReceiver) -> None:
    with service_of(
        upstream, otlp, INTERNAL_NETWORKS=ELSEWHERE, OTEL_TRACES_SAMPLER="parentbased_always_off"
    ) as service:
        _, sent = call(service, upstream, GIVEN)
        assert sent["traceparent"].endswith("-00")
    with service_of(upstream, otlp, INTERNAL_NETWORKS=ELSEWHERE) as service:
        _, sent = call(service, upstream, GIVEN | {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"})
        assert sent["traceparent"].endswith("-01")


def test_malformed_request_ids_and_traces_are_replaced(upstream: Echo, otlp: OtlpReceiver) -> None:
    with service_of(upstream, otlp, INTERNAL_NETWORKS=ELSEWHERE) as service:
        for request_id in MALFORMED_IDS:
            sent_id: Any = request_id.encode()
            response, sent = call(service, upstream, {"X-Request-ID": sent_id})
            assert response.headers["x-request-id"] == sent["X-Request-ID"] == sent["traceparent"][3:35]
        for traceparent in ("", "00-0-0-01", f"00-{'0' * 32}-{SPAN_ID}-01", "x" * 5000):
            _, sent = call(service, upstream, {"traceparent": traceparent, "baggage": "a=b"})
            assert TRACE_ID not in sent["traceparent"]
            assert sent["baggage"] is None
            spans = otlp.wait_for(
                lambda spans: len(spans) == 2, trace_id=sent["traceparent"][3:35], timeout_s=20
            )
            assert [span.links for span in spans] == [(), ()]


def test_a_request_of_another_service_continues_its_trace_and_deadline(
    upstream: Echo, otlp: OtlpReceiver
) -> None:
    with service_of(upstream, otlp, ENVIRONMENT="production", INTERNAL_NETWORKS="127.0.0.0/8") as service:
        response, sent = call(service, upstream, GIVEN | {"X-Request-Timeout": "2.5"})

        assert sent["traceparent"].startswith(f"00-{TRACE_ID}-")
        assert sent["tracestate"] == GIVEN["tracestate"]
        assert sent["baggage"] == GIVEN["baggage"]
        assert 0 < float(sent["X-Request-Timeout"]) <= 2.5
        assert response.headers["x-request-id"] == sent["X-Request-ID"] == GIVEN["X-Request-ID"]
        _, server = otlp.wait_for(lambda spans: len(spans) == 2, trace_id=TRACE_ID, timeout_s=20)
        assert (server.kind, server.parent_span_id, server.links) == ("server", SPAN_ID, ())
        assert service.client.get("/call", headers=TINY).status_code == 504


@contextmanager
def haproxy(directory: Path, name: str, address: str) -> Iterator[httpx2.Client]:
    """Run HAProxy with the frontends of a shipped configuration, in front of one server."""
    shipped = (ROOT / f"deploy/proxy/{name}.cfg").read_text("utf-8")
    scheme, port, plain = ("https" if name == "tls" else "http"), free_port(), free_port()
    certificate, key = Authority(directory).issue("localhost")
    pem = directory / "both.pem"
    pem.write_text(certificate.read_text("utf-8") + key.read_text("utf-8"), "utf-8")
    shipped = shipped.replace("/run/secrets/certificate", str(pem))
    shipped = shipped.replace(":8080", f"127.0.0.1:{plain if name == 'tls' else port}")
    shipped = shipped.replace(":8443", f"127.0.0.1:{port}")
    file = directory / "haproxy.cfg"
    backends = "".join(f"backend {service.name}\n    server {service.name} {address}\n" for service in read())
    file.write_text(DEFAULTS + backends + shipped, "utf-8")
    process = subprocess.Popen([find_program("haproxy", package="haproxy"), "-f", file, "-db"])
    try:
        base = f"{scheme}://127.0.0.1:{port}"
        with httpx2.Client(base_url=base, verify=False, timeout=20, trust_env=False) as client:
            wait_until(lambda: _responds(client, process), timeout_s=20)
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _responds(client: httpx2.Client, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None
    try:
        return client.get("/").status_code == 404
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("name", ["plain", "tls"])
def test_the_shipped_proxy_passes_nothing_on_that_a_stranger_decides(
    upstream: Echo, tmp_path: Path, name: str
) -> None:
    forged = {"Forwarded": "for=10.0.0.1", "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "ftp"}
    with haproxy(tmp_path, name, upstream.address) as client:
        assert client.get(PUBLIC_PATHS[-1], headers=GIVEN | TINY | forged).status_code == 200
        sent = upstream.received[-1]
        for dropped in ("traceparent", "tracestate", "baggage", "X-Request-Timeout", "Forwarded"):
            assert sent[dropped] is None, dropped
        assert sent["X-Request-ID"] == GIVEN["X-Request-ID"]
        assert sent.get_all("X-Forwarded-For") == ["127.0.0.1"]
        assert sent["X-Forwarded-Proto"] == ("https" if name == "tls" else "http")
        for request_id in MALFORMED_IDS:
            given: Any = {"X-Request-ID": request_id.encode()}
            assert client.get(PUBLIC_PATHS[0], headers=given).status_code == 200
            assert upstream.received[-1]["X-Request-ID"] is None
        twice = [("X-Request-ID", "one"), ("X-Request-ID", "two")]
        assert client.get(PUBLIC_PATHS[0], headers=twice).status_code == 200
        assert upstream.received[-1]["X-Request-ID"] is None


def test_a_service_behind_the_shipped_proxy_ignores_what_a_stranger_decides(
    upstream: Echo, otlp: OtlpReceiver, tmp_path: Path
) -> None:
    # The path of the sample, which the shipped configuration does not have.
    with service_of(upstream, otlp, TRUSTED_PROXIES="127.0.0.1", INTERNAL_NETWORKS="127.0.0.0/8") as service:
        address = service.url.removeprefix("http://")
        with haproxy(tmp_path, "plain", address) as client:
            response = client.get(PUBLIC_PATHS[-1], headers=GIVEN | TINY)

            assert response.status_code == 404
            assert response.headers["x-request-id"] == GIVEN["X-Request-ID"]
            line = service.wait_for_log_where(lambda line: line.get("path") == PUBLIC_PATHS[-1])
            assert line["trace_id"] != TRACE_ID
            assert line["client"] == "127.0.0.1"
    assert otlp.spans(TRACE_ID) == []
