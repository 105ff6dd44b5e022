"""Every exception that redis-py defines is classified; a release that adds one fails here."""

import asyncio
import importlib
import pkgutil
import ssl
from collections.abc import Iterator

import pytest
import redis
from redis._parsers.base import BaseParser
from starkeel_redis._failures import failure_of

# An exception that is missing here is new in redis-py: check its kind in `_failures.py`, and add it.
KINDS = {
    "redis.asyncio.sentinel.MasterNotFoundError": "connection",
    "redis.asyncio.sentinel.SlaveNotFoundError": "connection",
    "redis.auth.err.InvalidTokenSchemaErr": "connection",
    "redis.auth.err.RequestTokenErr": "connection",
    "redis.auth.err.TokenRenewalErr": "connection",
    "redis.event.EventException": "connection",
    "redis.exceptions.AskError": "setting",
    "redis.exceptions.AuthenticationError": "setting",
    "redis.exceptions.AuthenticationWrongNumberOfArgsError": "setting",
    "redis.exceptions.AuthorizationError": "setting",
    "redis.exceptions.BusyLoadingError": "server",
    "redis.exceptions.ChildDeadlockedError": "connection",
    "redis.exceptions.ClusterCrossSlotError": "setting",
    "redis.exceptions.ClusterDownError": "setting",
    "redis.exceptions.ClusterError": "setting",
    "redis.exceptions.ConnectionError": "connection",
    "redis.exceptions.CrossSlotTransactionError": "setting",
    "redis.exceptions.DataError": "command",
    "redis.exceptions.ExecAbortError": "command",
    "redis.exceptions.ExternalAuthProviderError": "server",
    "redis.exceptions.IncorrectPolicyType": "connection",
    "redis.exceptions.InvalidPipelineStack": "setting",
    "redis.exceptions.InvalidResponse": "connection",
    "redis.exceptions.LockError": "command",
    "redis.exceptions.LockNotOwnedError": "command",
    "redis.exceptions.MasterDownError": "server",
    "redis.exceptions.MaxConnectionsError": "connection",
    "redis.exceptions.ModuleError": "command",
    "redis.exceptions.MovedError": "setting",
    "redis.exceptions.NoPermissionError": "command",
    "redis.exceptions.NoScriptError": "script",
    "redis.exceptions.NoSuchFieldsetError": "command",
    "redis.exceptions.OutOfMemoryError": "server",
    "redis.exceptions.PubSubError": "command",
    "redis.exceptions.ReadOnlyError": "server",
    "redis.exceptions.RedisClusterException": "setting",
    "redis.exceptions.RedisError": "connection",
    "redis.exceptions.ResponseError": "command",
    "redis.exceptions.SlotNotCoveredError": "setting",
    "redis.exceptions.TimeoutError": "connection",
    "redis.exceptions.TryAgainError": "setting",
    "redis.exceptions.WatchError": "command",
    "redis.http.http_client.HttpError": "connection",
    "redis.multidb.exception.InitialHealthCheckFailedError": "connection",
    "redis.multidb.exception.NoValidDatabaseException": "connection",
    "redis.multidb.exception.TemporaryUnavailableException": "connection",
    "redis.multidb.exception.UnhealthyDatabaseException": "connection",
    "redis.sentinel.MasterNotFoundError": "connection",
    "redis.sentinel.SlaveNotFoundError": "connection",
}


def _exceptions() -> Iterator[type[BaseException]]:
    for found in pkgutil.walk_packages(redis.__path__, "redis."):
        try:
            module = importlib.import_module(found.name)
        except ImportError:
            # Needs an optional dependency that is not installed, and cannot raise anything here.
            continue
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseException)
                and value.__module__ == found.name
            ):
                yield value


def _name(cls: type[BaseException]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


ALL = {_name(cls): cls for cls in _exceptions()}


def _instance(cls: type[BaseException]) -> BaseException:
    # Some accept only texts such as "3999 127.0.0.1:6381" or several arguments: only the class matters.
    error = cls.__new__(cls)
    error.args = ("reason",)
    return error


def test_the_list_has_every_exception_of_redis_py() -> None:
    assert set(ALL) == set(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_exception_of_redis_py_has_its_kind(name: str) -> None:
    failure = failure_of(_instance(ALL[name]), setting="EXAMPLE_URL")
    assert failure.kind == KINDS[name]
    assert str(failure)
    assert ("`EXAMPLE_URL`" in str(failure)) == (failure.kind == "setting")


@pytest.mark.parametrize("code", sorted(BaseParser.EXCEPTION_CLASSES))
def test_every_code_that_redis_py_parses_has_the_kind_of_its_class(code: str) -> None:
    # The format of a redirection in a cluster; for other codes any text.
    error = BaseParser.parse_error(f"{code} 3999 127.0.0.1:6381")
    assert failure_of(error, setting="S").kind == KINDS[_name(type(error))]


@pytest.mark.parametrize(
    "error",
    [
        OSError(104, "Connection reset by peer"),
        ssl.SSLCertVerificationError("certificate verify failed"),
        TimeoutError(),
        EOFError(),
        asyncio.IncompleteReadError(b"", 5),
        UnicodeError("label too long"),
        ValueError("invalid literal for int()"),
        AttributeError("'NoneType' object has no attribute 'read'"),
        IndexError("pop from an empty deque"),
    ],
)
def test_any_other_exception_is_a_failure_of_the_connection(error: Exception) -> None:
    failure = failure_of(error, setting="S")
    assert (failure.kind, bool(str(failure))) == ("connection", True)
