"""Configuration reload on SIGHUP."""

from collections.abc import Collection

import structlog
from msgspec.structs import replace
from starkeel_config import Entry, Resolved, ServiceSettings

from .._config.service import ENVIRON, Service
from .._config.settings import RESTART_ONLY, TLS_FILES, server_settings
from .._control.log_levels import MainLogLevels
from .._ipc.config_snapshot import ConfigSnapshot

log = structlog.get_logger(__name__)


class ReloadableConfig:
    """Configuration that workers are started with.

    `active` is known to work; `candidate` was read last and becomes active when a worker has started with it.
    """

    def __init__(self, service: Service, resolved: Resolved[ServiceSettings]) -> None:
        self._service = service
        self.active = self._snapshot(resolved)
        self.candidate = self.active
        self.log_levels: MainLogLevels | None = None
        """Levels of the main process, which follow the active configuration."""

    def reload(self) -> bool:
        """Read the configuration files again as the new candidate; return whether it is valid.

        Environment variables cannot change in a running process. Changes that need a restart are logged and
        not applied.
        """
        try:
            resolved = self._service.resolve()
            unchanged = self._needing_restart(resolved)
            if unchanged:
                log.warning("changes not applied: restart required", variables=sorted(unchanged))
            candidate = self._snapshot(resolved, unchanged)
        except Exception as error:  # noqa: BLE001 - the service must keep running
            log.error("configuration refused: workers keep the current one", reason=str(error))
            return False
        self._set_candidate(candidate)
        log.info("configuration reloaded")
        return True

    def activate(self, tried: ConfigSnapshot) -> None:
        """Make a candidate active after a worker started with it, unless a newer one was read since."""
        if tried is not self.candidate or tried is self.active:
            return
        self.active.close()
        self.active = tried
        if self.log_levels is not None:
            self.log_levels.configure(tried.log_level_text, tried.log_level)

    def discard_candidate(self) -> None:
        """Discard the candidate: no worker started with it."""
        self._set_candidate(self.active)

    def _set_candidate(self, snapshot: ConfigSnapshot) -> None:
        if self.candidate is not self.active:
            self.candidate.close()
        self.candidate = snapshot

    def _needing_restart(self, resolved: Resolved[ServiceSettings]) -> Collection[str]:
        before, after = self.active.server, server_settings(resolved.settings)
        changed = {
            name for name, field in RESTART_ONLY.items() if getattr(before, field) != getattr(after, field)
        }
        return changed | (set() if before.uses_tls == after.uses_tls else set(TLS_FILES))

    def _snapshot(
        self, resolved: Resolved[ServiceSettings], unchanged: Collection[str] = ()
    ) -> ConfigSnapshot:
        """Create a snapshot in which some variables keep their active values."""
        server, environ = server_settings(resolved.settings), resolved.snapshot(ENVIRON)
        entries = {entry.variable: entry for entry in resolved.entries}
        if unchanged:
            fields = [(RESTART_ONLY | TLS_FILES)[name] for name in unchanged]
            server = replace(server, **{field: getattr(self.active.server, field) for field in fields})
            environ |= {name: self.active.texts[name] for name in unchanged}
            before = [entry for entry in self.active.entries if entry.variable in unchanged]
            entries |= {e.variable: Entry(e.variable, e.value, "start of the process") for e in before}
        return ConfigSnapshot(self._service.name, server, environ, entries.values())
