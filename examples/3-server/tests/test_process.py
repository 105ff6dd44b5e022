"""Tests of the service as a process of its own, with PostgreSQL and an OTLP receiver."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from starkeel_testing import OtlpReceiver, OwnPostgres, Service, running, wait_until

# The service is not installed: its process finds it by `PYTHONPATH`.
ENV = {"PYTHONPATH": str(Path(__file__).parents[1]), "SHUTDOWN_GRACE_SECONDS": "20"}


def driver(url: str) -> str:
    """Return a URL with the driver that SQLAlchemy uses."""
    return url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture
def service(postgres_url: str, otlp: OtlpReceiver) -> Iterator[Service]:
    exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running("shop", ENV | exporter | {"DATABASE_URL": driver(postgres_url)}) as service:
        yield service


def test_a_request_has_a_line_a_trace_and_a_metric(service: Service, otlp: OtlpReceiver) -> None:
    added = service.client.post("/books", json={"title": "Emma", "price": "8.00"})

    assert (added.status_code, added.json()) == (201, {"title": "Emma", "price": "8.00"})
    line = service.wait_for_log("request completed", route="/books", status=201)
    assert line["request_id"] == added.headers["X-Request-ID"]
    assert service.wait_for_log("added Emma")["trace_id"] == line["trace_id"]
    [span] = otlp.wait_for(lambda spans: len(spans) == 1, trace_id=line["trace_id"])
    assert (span.name, span.service) == ("POST /books", "shop")
    wait_until(
        lambda: service.metric("http_requests_total", path="/books", status="201") == 1,
        timeout_s=15,
        what="the metric",
    )


def test_an_error_is_logged_with_its_traceback_and_not_sent(service: Service) -> None:
    response = service.client.get("/price-share/0")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert not {"Traceback", "Division"} & set(response.text.replace('"', " ").split())
    logged = service.wait_for_log_where(lambda line: "exception" in line)
    assert logged["request_id"] == response.json()["request_id"]
    assert "price_share" in logged["exception"]["stack"]


def test_a_stop_lets_an_open_request_finish(service: Service) -> None:
    body = b'{"title": "Emma", "price": "8.00"}'
    head = (
        b"POST /books HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(head % len(body) + body[:5])
        wait_until(lambda: service.metric("http_requests_in_flight") >= 1, timeout_s=30, what="the request")
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_log("received SIGTERM")
        client.sendall(body[5:])
        assert client.recv(65_536).startswith(b"HTTP/1.1 201")

    assert service.wait() == 0
    service.wait_for_log("shutdown complete")


def test_readiness_follows_the_database(own_postgres: OwnPostgres) -> None:
    with running("shop", ENV | {"DATABASE_URL": driver(own_postgres.url)}) as service:

        def becomes(status: int) -> None:
            wait_until(
                lambda: service.client.get("/health/ready").status_code == status,
                timeout_s=30,
                what=lambda: f"readiness {status}\n{service.output()}",
            )

        assert service.client.get("/health/ready").json()["checks"]["database"]["status"] == "ok"
        for begin, end in (
            (own_postgres.stop, own_postgres.start),
            (own_postgres.pause, own_postgres.resume),
        ):
            begin()
            becomes(503)
            assert service.client.get("/health/live").status_code == 200
            end()
            becomes(200)
