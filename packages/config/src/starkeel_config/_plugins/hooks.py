"""Hooks by which plugins and settings sections take part in a service; each is optional and found by name.

An object implements a hook by having its members; it need not derive from the protocol.
`docs/plugins.md` describes them for users.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

from .._spelling import close_names


@runtime_checkable
class StartProcessHook(Protocol):
    """Process-wide setup."""

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set up logging, a tracer provider, or this worker's share of a resource.

        Args:
            role: `worker` in a worker, `main` in the main process and in commands.
            index: Number of the worker, from 0.
            workers: Number of workers that share resources.
        """


@runtime_checkable
class StopProcessHook(Protocol):
    """Process-wide cleanup."""

    def stop_process(self, *, timeout_s: float) -> None:
        """Flush buffers before the process exits, within `timeout_s` seconds."""


@runtime_checkable
class ConnectHook(Protocol):
    """A dependency that the service cannot start without."""

    async def connect(self) -> None:
        """Wait for the dependency. A raised exception with an `exit_code` ends the process with it."""


@runtime_checkable
class MigrateHook(Protocol):
    """Schema migrations."""

    async def migrate(self, *, at_start: bool) -> int | None:
        """Apply pending migrations; may be cancelled.

        Args:
            at_start: Whether the service is starting, as opposed to the `migrate` command.

        Returns:
            Number of applied migrations, or None when they are applied elsewhere.
        """


@runtime_checkable
class MigrationSqlHook(Protocol):
    """Preview of schema migrations."""

    async def migration_sql(self) -> str:
        """Return the SQL of pending migrations without applying them."""


@runtime_checkable
class RevisionHook(Protocol):
    """Creation of schema migrations."""

    def revision(self, message: str) -> list[Path]:
        """Write a new migration and return its files."""


@runtime_checkable
class BackupHook(Protocol):
    """Backup of embedded data."""

    def backup(self, file: Path) -> None:
        """Copy the data to a file."""


@runtime_checkable
class RestoreHook(Protocol):
    """Restore of embedded data."""

    def restore(self, file: Path) -> None:
        """Replace the data by the copy in a file."""


@runtime_checkable
class ReadinessHook(Protocol):
    """A readiness check."""

    readiness_name: str

    async def check_ready(self) -> None:
        """Raise when the check fails."""


@runtime_checkable
class ReadinessCriticalHook(ReadinessHook, Protocol):
    """A readiness check that may be non-critical: if `readiness_critical` is False it is only reported."""

    readiness_critical: bool


@runtime_checkable
class FeaturesHook(Protocol):
    """Lines of the start report."""

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Return the name of each feature, whether it is enabled, and a short explanation."""


@runtime_checkable
class InquiriesHook(Protocol):
    """Data for the pages of the admin port."""

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return functions by page name.

        Each takes query parameters and returns data that is encoded as JSON. Coroutine functions run in the
        event loop of the application.
        """


@runtime_checkable
class SetLogLevelsHook(Protocol):
    """Log levels that can be changed at run time."""

    def set_log_levels(self, levels: str) -> None:
        """Apply log levels; raise ValueError when they are invalid."""


@runtime_checkable
class IdempotencyStore(Protocol):
    """Storage of responses for requests with an idempotency key."""

    async def claim_idempotency_key(
        self, scope: Any, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]:
        """Claim a key for the request's unit of work.

        Args:
            scope: ASGI scope of the request.
            key: 32 bytes.

        Returns:
            `free` when the key is claimed, `taken` when another request is processing it, or the stored
            response: fingerprint of the request, status, headers and body.
        """

    async def keep_idempotent_answer(
        self, scope: Any, key: bytes, answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes]
    ) -> bool:
        """Store a response in the request's unit of work; return False when another one has been stored."""


@runtime_checkable
class MainProcessHook(Protocol):
    """A settings section with a component for the main process."""

    def main_process(self) -> object:
        """Return the component; called once. Must not import a web framework."""


@runtime_checkable
class CollectorsHook(Protocol):
    """Metrics of the main process."""

    def collectors(self) -> Iterable[Any]:
        """Return Prometheus collectors for `/metrics` of the admin port."""


@runtime_checkable
class ExitCodeHook(Protocol):
    """An exception raised by `connect` or `migrate` that determines the exit status of the process."""

    exit_code: int


HOOKS: Final[Mapping[str, type]] = {
    name: protocol
    for protocol in (
        StartProcessHook,
        StopProcessHook,
        ConnectHook,
        MigrateHook,
        MigrationSqlHook,
        RevisionHook,
        BackupHook,
        RestoreHook,
        ReadinessHook,
        ReadinessCriticalHook,
        FeaturesHook,
        InquiriesHook,
        SetLogLevelsHook,
        IdempotencyStore,
        MainProcessHook,
        CollectorsHook,
        ExitCodeHook,
    )
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
