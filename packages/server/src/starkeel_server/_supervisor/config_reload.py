"""Configuration reload on SIGHUP."""

from collections.abc import Callable, Mapping

import structlog
from starkeel_config import Resolved, ServiceSettings, resolve

from .._config.service import ENVIRON, Service
from .._config.settings import ServerSettings
from .._ipc.config_snapshot import TLS_FILES, ConfigSnapshot, frozen_environ

log = structlog.get_logger(__name__)

_FIXED: dict[str, Callable[[ServerSettings], object]] = {
    "HOST": lambda server: server.host,
    "PORT": lambda server: server.port,
    "METRICS_HOST": lambda server: server.metrics_host,
    "METRICS_PORT": lambda server: server.metrics_port,
    "WORKERS": lambda server: server.workers,
    "LOG_LEVEL_CHANGES": lambda server: "true" if server.log_level_changes else "false",
}
"""Settings of the main process, which need a restart to change."""


class ReloadableConfig:
    """Configuration that workers are started with.

    `active` is known to work; `candidate` was read last and becomes active when a worker has started with it.

    Args:
        service: The service.
        resolved: Its configuration at the start.
    """

    def __init__(self, service: Service, resolved: Resolved[ServiceSettings]) -> None:
        self._service = service
        self.active = ConfigSnapshot(
            frozen_environ(ENVIRON, resolved), service.name, {}, entries=resolved.entries
        )
        self.candidate = self.active
        self.on_activated: Callable[[ConfigSnapshot], None] = _ignore
        """Called when a candidate has become active."""

    def reload(self) -> bool:
        """Read the configuration files again as the new candidate; return whether it is valid.

        Environment variables cannot change in a running process. Changes that need a restart are logged and
        not applied.
        """
        try:
            resolved = resolve(self._service.settings_class(), ENVIRON, service=self._service.name)
            environ = frozen_environ(ENVIRON, resolved)
            found = ConfigSnapshot(environ, self._service.name, {}, entries=resolved.entries)
            fixed = self._fixed(found.server)
            if fixed:
                log.warning("changes not applied: restart required", variables=sorted(fixed))
                found.close()
                found = ConfigSnapshot(environ, self._service.name, fixed, entries=resolved.entries)
        except Exception as error:  # noqa: BLE001 - the service must keep running
            log.error("configuration refused: workers keep the current one", reason=str(error))
            return False
        self._replace_candidate(found)
        log.info("configuration reloaded")
        return True

    def activate(self, tried: ConfigSnapshot) -> None:
        """Make a candidate active after a worker started with it, unless a newer one was read since."""
        if tried is self.candidate and tried is not self.active:
            self.active.close()
            self.active = tried
            self.on_activated(tried)

    def discard_candidate(self) -> None:
        """Discard the candidate: no worker started with it."""
        self._replace_candidate(self.active)

    def _replace_candidate(self, snapshot: ConfigSnapshot) -> None:
        if self.candidate is not self.active:
            self.candidate.close()
        self.candidate = snapshot

    def _fixed(self, found: ServerSettings) -> Mapping[str, str]:
        """Return the old values of changed settings that need a restart."""
        current = self.active.server
        kept = {name: str(of(current)) for name, of in _FIXED.items() if of(found) != of(current)}
        if found.uses_tls != current.uses_tls:
            paths = (current.tls_cert_file, current.tls_key_file, current.tls_client_ca_file)
            kept |= {name: str(path or "") for name, path in zip(TLS_FILES, paths, strict=True)}
        return kept


def _ignore(_: ConfigSnapshot) -> None:
    """Default callback."""
