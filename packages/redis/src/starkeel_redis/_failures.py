"""Classification of everything that an attempt to use Redis can raise."""

import re
from collections.abc import Mapping
from typing import Final, Literal

from redis import exceptions

Kind = Literal["connection", "server", "setting", "command", "script"]

_SCRIPT_ERROR: Final = re.compile(r"@?user_script: ?\d+: -?([A-Z]{2,}) ")
"""Error of a command in a script; before Redis 7 the reply starts with `ERR` whatever its code."""
_CODE: Final = re.compile(r"([A-Z]{2,}) ")
_COMMAND_CODES: Final = frozenset(
    {"ERR", "WRONGTYPE", "NOPERM", "EXECABORT", "BUSYGROUP", "BUSYKEY", "NOGROUP"}
)
_CLUSTER_CODES: Final = frozenset({"MOVED", "CLUSTERDOWN", "CROSSSLOT", "TRYAGAIN"})
# By name: releases of redis-py differ. A subclass without a kind of its own has that of its base.
_KINDS: Final[Mapping[str, Kind]] = {
    "ResponseError": "server",
    "NoScriptError": "script",
    "BusyLoadingError": "server",
    "ExternalAuthProviderError": "server",
    "MasterDownError": "server",
    "OutOfMemoryError": "server",
    "ReadOnlyError": "server",
    "AuthenticationError": "setting",
    "AuthenticationWrongNumberOfArgsError": "setting",
    "AuthorizationError": "setting",
    "AskError": "setting",
    "ClusterCrossSlotError": "setting",
    "ClusterError": "setting",
    "RedisClusterException": "setting",
    "TryAgainError": "setting",
    "DataError": "command",
    "ExecAbortError": "command",
    "LockError": "command",
    "ModuleError": "command",
    "NoPermissionError": "command",
    "NoSuchFieldsetError": "command",
    "PubSubError": "command",
    "WatchError": "command",
    "RedisError": "connection",
}


class RedisFailure(Exception):
    """A command that Redis did not execute, or whose reply did not arrive.

    Attributes:
        kind: `connection`: no connection, or no reply in time; the command may have been executed.
            `server`: the server executes no such command at the moment (read-only, loading, out of memory).
            `setting`: the URL must be changed (a node of a cluster, a wrong password).
            `command`: an error of this command only (WRONGTYPE, NOPERM). `script`: an unknown script.
            After the first three the connection is replaced.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind

    @property
    def is_of_command(self) -> bool:
        """Whether the connection is in order, and other commands may succeed."""
        return self.kind in {"command", "script"}


def failure_of(error: BaseException, *, setting: str) -> RedisFailure:
    """Return the failure that an exception means; an unknown one is a failure of the connection.

    Args:
        error: Exception of redis-py, the operating system, or anything else.
        setting: Name of the variable with the URL, for messages.
    """
    if isinstance(error, RedisFailure):
        return RedisFailure(error.kind, str(error))
    reason = str(error) or type(error).__name__
    bases = type(error).__mro__
    # TimeoutError and ConnectionError of redis-py and of Python are failures of the connection.
    kind: Kind = next((_KINDS[cls.__name__] for cls in bases if cls.__name__ in _KINDS), "connection")
    if type(error) is exceptions.ResponseError:
        kind = _kind_of_reply(reason)
    if kind == "setting":
        reason = _with_setting(error, reason, setting)
    return RedisFailure(kind, reason)


def _kind_of_reply(reason: str) -> Kind:
    """Return the kind of an error for which redis-py has no class; an unknown code is the server's."""
    found = _SCRIPT_ERROR.search(reason) or _CODE.match(reason)
    code = "ERR" if found is None else found[1]
    if code in _CLUSTER_CODES:
        return "setting"
    return "command" if code in _COMMAND_CODES else "server"


def _with_setting(error: BaseException, reason: str, setting: str) -> str:
    if any(cls.__name__.startswith("Auth") for cls in type(error).__mro__):
        return f"{reason} (check the user and the password in `{setting}`)"
    return cluster_reason(setting)


def cluster_reason(setting: str) -> str:
    """Return the reason why a node of a cluster is refused."""
    return (
        f"`{setting}` names a node of a Redis Cluster, which is not supported:"
        " use a server, or a proxy, without cluster mode"
    )
