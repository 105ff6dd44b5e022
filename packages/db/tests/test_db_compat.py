"""Undocumented names of other libraries are probed when an engine is created."""

from collections.abc import Iterator
from typing import Any

import aiosqlite
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.pool import QueuePool
from starkeel_db import DatabaseError
from starkeel_db._compat import check

from .conftest import Package

POSTGRES = "postgresql://ada@127.0.0.1:1/shop"


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Repeat the probes, whose result is cached."""
    check.cache_clear()
    yield
    check.cache_clear()


async def _reason(package: Package, url: str) -> str:
    with pytest.raises(DatabaseError, match="does not support") as caught:
        await package.plugin(url, startup_timeout_s=0.0).connect()
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("url", [POSTGRES, "sqlite:///shop.db"])
@pytest.mark.parametrize(
    "name", ["_do_get", "_do_return_conn", "_inc_overflow", "_dec_overflow", "_create_connection"]
)
async def test_a_renamed_method_of_the_pool_is_reported(
    package: Package, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    [owner] = [cls for cls in QueuePool.__mro__ if name in vars(cls)][:1]
    monkeypatch.delattr(owner, name)

    reason = await _reason(package, url)

    assert "internals of its pool" in reason
    assert "sqlalchemy" in reason
    assert "<2.2" in reason


async def test_a_changed_result_of_the_pool_is_reported(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QueuePool, "_inc_overflow", lambda self: None)

    assert "internals of its pool" in await _reason(package, POSTGRES)


async def test_a_changed_adapter_of_asyncpg_is_reported(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: Any, *, prepared_statement_cache_size: int, prepared_statement_name_func: Any) -> None:
        pass

    monkeypatch.setattr(AsyncAdapt_asyncpg_dbapi, "connect", connect)

    assert "async_creator_fn" in await _reason(package, POSTGRES)


async def test_a_connection_without_thread_is_reported(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any, **__: Any) -> object:
        return object()

    monkeypatch.setattr(aiosqlite, "connect", connect)

    assert "_thread" in await _reason(package, "sqlite:///shop.db")


async def test_the_installed_releases_are_supported(package: Package, database_url: str) -> None:
    await package.plugin(database_url).connect()

    # The probes have run, and none of them failed.
    assert check.cache_info().misses == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [("BrokerAwayError", "BrokerUnavailableError"), ("DatabaseAwayError", "DatabaseUnreachableError")],
)
def test_a_renamed_error_has_its_old_name_as_well(old: str, new: str) -> None:
    import starkeel_db

    with pytest.warns(DeprecationWarning, match=new):
        found = getattr(starkeel_db, old)

    assert found is getattr(starkeel_db, new)
