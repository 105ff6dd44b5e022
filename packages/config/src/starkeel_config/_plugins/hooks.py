"""Hooks by which plugins and settings sections take part in a service; each is optional and found by name.

An object implements a hook by having its members; it need not derive from the protocol.
`docs/plugins.md` describes them for users.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, runtime_checkable

from .._spelling import close_names

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


@runtime_checkable
class StartProcessHook(Protocol):
    """Process-wide setup: logging, a tracer provider, this worker's share of a resource.

    The role is `worker` in a worker, `main` in the main process and in commands. Workers have an index from
    0; `workers` is the number of those that share resources.
    """

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None: ...


@runtime_checkable
class StopProcessHook(Protocol):
    """Process-wide cleanup: flush buffers before the process exits, within `timeout_s` seconds."""

    def stop_process(self, *, timeout_s: float) -> None: ...


@runtime_checkable
class ConnectHook(Protocol):
    """Wait for a dependency that the service cannot start without.

    A raised exception with an `exit_code` ends the process with it.
    """

    async def connect(self) -> None: ...


@runtime_checkable
class WorkHook(Protocol):
    """Work besides requests, such as jobs: called before the application starts.

    Without a call, such as under another server, the work is enabled.
    """

    def enable_work(self, is_enabled: bool) -> None: ...


@runtime_checkable
class RetentionHook(Protocol):
    """Deletion of a batch of the rows whose time is over; returns their number, 0 when none is left."""

    async def delete_old_rows(self) -> int: ...


@runtime_checkable
class RetentionScheduleHook(Protocol):
    """A plugin that calls `delete_old_rows` of all plugins at the times of a cron expression.

    Without such a plugin they delete their rows in each process, about once a minute.
    """

    retention_schedule: str


@runtime_checkable
class DrainHook(Protocol):
    """Finish what the process does besides requests, while its requests finish.

    `remaining_s()` returns the seconds that are left of the grace period; it may be called again.
    """

    async def drain(self, remaining_s: Callable[[], float]) -> None: ...


@runtime_checkable
class CommandHook(Protocol):
    """A command of the service's command line, which runs within the application's lifespan.

    `run_command` writes its output to `stdout`, and returns the exit code; log lines go to stderr.
    """

    command_name: str
    command_help: str

    def add_arguments(self, parser: "ArgumentParser") -> None: ...

    async def run_command(self, options: "Namespace", stdout: TextIO) -> int: ...


@runtime_checkable
class AsyncApiHook(Protocol):
    """The events of the service: channels, operations and components of AsyncAPI 3.0."""

    def asyncapi(self) -> Mapping[str, Any]: ...


@runtime_checkable
class MigrateHook(Protocol):
    """Apply pending schema migrations, at the start or by the `migrate` command; may be cancelled.

    Returns the number of applied migrations, or None when they are applied elsewhere.
    """

    async def migrate(self, *, at_start: bool) -> int | None: ...


@runtime_checkable
class MigrationSqlHook(Protocol):
    """Return the SQL of pending migrations without applying them."""

    async def migration_sql(self) -> str: ...


@runtime_checkable
class RevisionHook(Protocol):
    """Write a new migration and return its files."""

    def revision(self, message: str, *, empty: bool = False) -> list[Path]: ...


@runtime_checkable
class BackupHook(Protocol):
    """Copy embedded data to a file."""

    def backup(self, file: Path) -> None: ...


@runtime_checkable
class RestoreHook(Protocol):
    """Replace embedded data by the copy in a file."""

    def restore(self, file: Path) -> None: ...


@runtime_checkable
class ReadinessHook(Protocol):
    """A readiness check, which raises when it fails."""

    readiness_name: str

    async def check_ready(self) -> None: ...


@runtime_checkable
class ReadinessCriticalHook(ReadinessHook, Protocol):
    """A readiness check that may be non-critical: if `readiness_critical` is False it is only reported."""

    readiness_critical: bool


@runtime_checkable
class FeaturesHook(Protocol):
    """Lines of the start report: name of each feature, whether it is enabled, and a short explanation."""

    def features(self) -> Iterable[tuple[str, bool, str]]: ...


@runtime_checkable
class InquiriesHook(Protocol):
    """Data for the pages of the admin port: functions by page name.

    Each takes query parameters and returns data that is encoded as JSON. Coroutine functions run in the
    event loop of the application.
    """

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]: ...


@runtime_checkable
class SetLogLevelsHook(Protocol):
    """Apply log levels at run time; raise ValueError when they are invalid."""

    def set_log_levels(self, levels: str) -> None: ...


@runtime_checkable
class IdempotencyStore(Protocol):
    """Storage of responses for requests with an idempotency key of 32 bytes, in their unit of work.

    A claim returns `free` when the key is claimed, `taken` when another request is processing it, or the
    stored response: fingerprint of the request, status, headers and body. A response is not kept (False) when
    another one has been stored.
    """

    async def claim_idempotency_key(
        self, scope: Any, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]: ...

    async def keep_idempotent_answer(
        self, scope: Any, key: bytes, answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes]
    ) -> bool: ...


@runtime_checkable
class MainProcessHook(Protocol):
    """A settings section with a component for the main process.

    Called once; must not import a web framework.
    """

    def main_process(self) -> object: ...


@runtime_checkable
class CollectorsHook(Protocol):
    """Prometheus collectors of the main process for `/metrics` of the admin port."""

    def collectors(self) -> Iterable[Any]: ...


@runtime_checkable
class ExitCodeHook(Protocol):
    """An exception raised by `connect` or `migrate` that determines the exit status of the process."""

    exit_code: int


HOOKS: Final[Mapping[str, type]] = {
    name: protocol
    for protocol in list(globals().values())
    if isinstance(protocol, type) and protocol.__module__ == __name__
    for name in (*protocol.__annotations__, *vars(protocol))
    if not name.startswith("_")
}
"""The protocol of every hook, by the name of the member."""


def misspelled_hooks(plugin: object) -> list[tuple[str, str]]:
    """Return the public members of a plugin that are probably misspelled hooks, each with the hook's name.

    A member is reported when it is one edit away from a hook that the plugin does not implement. Properties
    are not evaluated.
    """
    members = {name for name in dir(plugin) if not name.startswith("_")}
    missing = HOOKS.keys() - members
    return [(name, hook) for name in sorted(members - HOOKS.keys()) for hook in close_names(name, missing)]
