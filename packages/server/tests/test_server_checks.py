"""Readiness checks that are given to the plugin, for databases without `starkeel-db`.

The tests of `examples/3-server` stop and start a PostgreSQL that an async engine checks.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.exceptions import ImproperlyConfiguredException
from litestar.plugins import InitPlugin
from litestar.testing import AsyncTestClient
from sqlalchemy import NullPool, create_engine
from starkeel_config import load
from starkeel_server import ServerPlugin, ServerSettings, sqlalchemy_check

SETTINGS = load(ServerSettings, {}, service="shop")
WAIT_S = 60.0


class DatabasePlugin(InitPlugin):
    readiness_name = "database"

    async def check_ready(self) -> None:
        """Pass."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        return app_config


async def _readiness(client: AsyncTestClient[Litestar]) -> tuple[int, dict[str, Any]]:
    response = await client.get("/health/ready")
    return response.status_code, response.json()["checks"]


async def test_a_failed_check_makes_the_service_not_ready() -> None:
    async def fails() -> None:
        raise ConnectionError("refused")

    async def passes() -> int:
        return 1

    plugin = ServerPlugin(SETTINGS, checks={"broker": fails, "disk": passes})
    async with AsyncTestClient(Litestar(plugins=[plugin])) as client:
        status, checks = await _readiness(client)

    assert status == 503
    assert {name: check["status"] for name, check in checks.items()} == {"broker": "failed", "disk": "ok"}


async def test_a_name_that_a_plugin_has_is_refused() -> None:
    async def passes() -> None:
        """Pass."""

    app = Litestar(plugins=[DatabasePlugin(), ServerPlugin(SETTINGS, checks={"database": passes})])
    problem = pytest.RaisesExc(ImproperlyConfiguredException, match="'database' already: rename it")
    with pytest.RaisesGroup(problem):
        async with app.lifespan():
            """Starts."""


async def test_a_sync_engine_is_checked_in_a_thread(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=NullPool)
    app = Litestar(plugins=[ServerPlugin(SETTINGS, checks={"database": sqlalchemy_check(engine)})])
    async with AsyncTestClient(app) as client:
        status, checks = await _readiness(client)
    engine.dispose()

    assert (status, checks["database"]["status"]) == (200, "ok")


async def test_a_sync_engine_whose_check_hangs_uses_one_thread() -> None:
    release, calls = asyncio.Event(), 0
    loop = asyncio.get_running_loop()

    class Hangs:
        def connect(self) -> Any:
            nonlocal calls
            calls += 1
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(WAIT_S)
            raise ConnectionError("released")

    check = sqlalchemy_check(Hangs())
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await check()
    release.set()
    with pytest.raises(ConnectionError, match="released"):
        await check()
    assert calls == 1


def test_what_is_not_an_engine_is_refused() -> None:
    with pytest.raises(TypeError, match="AsyncEngine or Engine, got str"):
        sqlalchemy_check("postgresql://db/shop")
