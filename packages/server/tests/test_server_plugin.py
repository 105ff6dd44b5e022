"""The plugin under another server: health endpoints work, draining is disabled."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers.base import BaseRouteHandler
from litestar.plugins import InitPlugin
from litestar.testing import AsyncTestClient
from starkeel_config import load
from starkeel_server import ServerPlugin, ServerSettings


@pytest.fixture
def settings() -> ServerSettings:
    return load(ServerSettings, {}, service="orders")


class Check:
    def __init__(self, name: str, *, fails: bool = False, critical: bool = True, hangs: bool = False) -> None:
        self.readiness_name = name
        self.readiness_critical = critical
        self.calls = 0
        self._fails = fails
        self._hangs = hangs

    async def check_ready(self) -> None:
        self.calls += 1
        if self._hangs:
            await asyncio.Event().wait()
        if self._fails:
            raise ConnectionError("the password is hunter2")


class CheckPlugin(Check, InitPlugin):
    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        return app_config


async def test_a_process_without_checks_is_ready(settings: ServerSettings) -> None:
    async with AsyncTestClient(Litestar(plugins=[ServerPlugin(settings)])) as client:
        for path, status in (("live", "live"), ("started", "started"), ("ready", "ready")):
            answer = await client.get(f"/health/{path}")
            assert answer.status_code == 200
            assert answer.json()["status"] == status
            assert answer.headers["cache-control"] == "no-store"


async def test_a_failed_non_critical_check_does_not_affect_readiness(
    settings: ServerSettings,
) -> None:
    plugins = [CheckPlugin("cache", fails=True, critical=False), ServerPlugin(settings)]
    async with AsyncTestClient(Litestar(plugins=plugins)) as client:
        answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["checks"]["cache"]["status"] == "failed"
    assert answer.json()["checks"]["cache"]["critical"] is False


async def test_checks_run_concurrently_and_results_are_cached_for_a_second(settings: ServerSettings) -> None:
    checks = [CheckPlugin("one"), CheckPlugin("two", fails=True)]
    async with AsyncTestClient(Litestar(plugins=[ServerPlugin(settings), *checks])) as client:
        answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {503}
    assert [check.calls for check in checks] == [1, 1]
    assert all("hunter2" not in answer.text for answer in answers)


async def test_a_hanging_check_fails(settings: ServerSettings) -> None:
    checks = [CheckPlugin(f"slow {number}", hangs=True) for number in range(5)]
    async with AsyncTestClient(Litestar(plugins=[ServerPlugin(settings), *checks])) as client:
        answer = await client.get("/health/ready")

    assert answer.status_code == 503
    # All checks time out concurrently: five take no longer than one.
    assert all(900 < check["duration_ms"] < 3000 for check in answer.json()["checks"].values())


async def test_health_endpoints_are_undocumented_and_excluded_from_guards(settings: ServerSettings) -> None:
    def refuse(_: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if not handler.opt.get("exclude_from_auth"):
            raise NotAuthorizedException

    @get("/")
    async def index() -> None: ...

    app = Litestar([index], plugins=[ServerPlugin(settings)], guards=[refuse])
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/health/ready")).status_code == 200
    assert list(app.openapi_schema.paths or {}) == ["/"]
