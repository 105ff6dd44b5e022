"""Spans and metrics of the database."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from subprocess import run

import pytest
from litestar import get
from litestar.di import NamedDependency
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode, get_tracer
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, DatabaseUnavailable

from .conftest import Book, Open, until


class ListExporter(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReadableSpan]]:
    """Return the recorded spans."""
    exporter = ListExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    yield exporter.spans
    provider.shutdown()


async def test_a_statement_is_a_client_span_within_the_request(
    library: Open, database_url: str, spans: list[ReadableSpan]
) -> None:
    async with library(database_url, []) as opened, opened.database.session() as session:
        with get_tracer("test").start_as_current_span("request") as request:
            await session.scalars(select(Book).where(Book.title == "very secret"))

    (span,) = [span for span in spans if span.kind is SpanKind.CLIENT]
    attributes = dict(span.attributes or {})
    assert span.name == "SELECT books"
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    assert attributes["db.system.name"] == database_url.partition(":")[0]
    assert attributes["db.operation.name"] == "SELECT"
    assert attributes["db.collection.name"] == "books"
    assert attributes["db.query.summary"] == "SELECT books"
    assert "FROM books" in str(attributes["db.query.text"])
    assert attributes["db.namespace"]
    assert "secret" not in str(attributes)


async def test_the_first_span_of_a_checkout_has_its_wait_time(
    library: Open, database_url: str, spans: list[ReadableSpan]
) -> None:
    held, may_go = asyncio.Event(), asyncio.Event()
    async with library(database_url, [], max_connections=1) as opened:

        async def hold() -> None:
            async with opened.database.session() as session:
                await session.execute(text("SELECT 1"))
                held.set()
                await may_go.wait()

        async def wait() -> None:
            async with opened.database.session() as session:
                with get_tracer("test").start_as_current_span("request"):
                    await session.scalars(select(Book))
                    await session.scalars(select(Book))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold())
            await held.wait()
            tasks.create_task(wait())
            pool = opened.database._opened().engine.pool
            await until(lambda: pool.waiting)
            may_go.set()

    waits = [dict(s.attributes or {}).get("db.client.connection.wait_time") for s in _statements(spans)]
    assert len(waits) == 2
    assert isinstance(waits[0], float)
    assert waits[0] > 0
    assert waits[1] is None


def _statements(spans: list[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in spans if span.kind is SpanKind.CLIENT]


@pytest.mark.parametrize(
    ("statement", "recorded"),
    [
        ("SELECT 'very secret', 4711", "SELECT ?, ?"),
        ("SELECT 'it''s very secret'", "SELECT ?"),
        (r"SELECT E'\'very secret'", None),
        ("SELECT $$very secret$$", None),
        ("SELECT 1 -- very secret", None),
    ],
)
async def test_literals_are_not_recorded(
    library: Open, postgres_url: str, spans: list[ReadableSpan], statement: str, recorded: str | None
) -> None:
    async with library(postgres_url, []) as opened, opened.database.session() as session:
        connection = await session.connection()
        with get_tracer("test").start_as_current_span("request"):
            await connection.exec_driver_sql(statement)

    (span,) = [span for span in spans if span.kind is SpanKind.CLIENT]
    attributes = dict(span.attributes or {})
    assert attributes.get("db.query.text") == recorded
    assert "secret" not in str(attributes) + span.name


async def test_a_failed_statement_has_an_error_type(
    library: Open, database_url: str, spans: list[ReadableSpan]
) -> None:
    async with library(database_url, []) as opened, opened.database.session() as session:
        with get_tracer("test").start_as_current_span("request"), pytest.raises(DBAPIError):
            await session.execute(text("SELECT * FROM nowhere"))
        await session.rollback()

    (span,) = [span for span in spans if span.kind is SpanKind.CLIENT]
    expected = {"sqlite": "OperationalError", "postgresql": "42P01"}[database_url.partition(":")[0]]
    assert dict(span.attributes or {})["error.type"] == expected
    assert span.status.status_code is StatusCode.ERROR


async def test_nothing_is_recorded_outside_of_a_trace(
    library: Open, database_url: str, spans: list[ReadableSpan]
) -> None:
    @get("/")
    async def handler(session: NamedDependency[AsyncSession]) -> None:
        await session.execute(text("SELECT 1"))

    async with library(database_url, [handler]) as opened:
        await opened.client.get("/")

    assert spans == []


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"db_client_connection_{name}", labels)


async def until_metric(name: str, expected: float, **labels: str) -> None:
    # Metrics are updated once a second.
    await until(lambda: value(name, **labels) == expected)


async def test_pool_metrics(library: Open, database_url: str) -> None:
    before = value("timeouts_total") or 0.0
    limits = {"min_connections": 1, "max_connections": 1, "acquire_timeout_s": 1.0}
    async with library(database_url, [], **limits) as opened, opened.database.session() as session:
        await session.execute(text("SELECT 1"))
        await until_metric("count", 1, state="used")
        await until_metric("count", 0, state="idle")
        await until_metric("max", 1)
        await until_metric("idle_min", 1)
        with pytest.raises(DatabaseUnavailable):
            await time_out(opened.database)
        await until_metric("timeouts_total", before + 1)
    assert value("count", state="used") == 0
    assert value("max") == 0


async def time_out(database: DatabasePlugin) -> None:
    async with database.session() as session:
        await session.execute(text("SELECT 1"))


def test_importing_the_package_does_not_import_prometheus_client() -> None:
    code = "import sys, starkeel_db; sys.exit('prometheus_client' in sys.modules)"

    assert run([sys.executable, "-c", code], check=False).returncode == 0
