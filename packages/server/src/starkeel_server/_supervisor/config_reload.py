"""The configuration of a running service, and how SIGHUP changes it."""

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
"""What main itself lives by, from the start to the end."""


class ReloadableConfig:
    """What workers are started with: what has proved itself, and what was read last.

    Args:
        service: The service.
        resolved: Its configuration at the start.

    Raises:
        ConfigurationError: When a file was changed into something wrong since it was read.
    """

    def __init__(self, service: Service, resolved: Resolved[ServiceSettings]) -> None:
        self._service = service
        self.active = ConfigSnapshot(
            frozen_environ(ENVIRON, resolved), service.name, {}, entries=resolved.entries
        )
        self.candidate = self.active
        self.on_activated: Callable[[ConfigSnapshot], None] = _ignore
        """Called when workers have come up with what was read last."""

    def reload(self) -> bool:
        """Read files anew; whether what they hold now can be used.

        The environment itself cannot change under a process. What needs a restart is told and left as it is.
        """
        try:
            resolved = resolve(self._service.settings_class(), ENVIRON, service=self._service.name)
            environ = frozen_environ(ENVIRON, resolved)
            found = ConfigSnapshot(environ, self._service.name, {}, entries=resolved.entries)
            fixed = self._fixed(found.server)
            if fixed:
                log.warning("a change needs a restart and was not applied", variables=sorted(fixed))
                found.close()
                found = ConfigSnapshot(environ, self._service.name, fixed, entries=resolved.entries)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the service goes on as it is
            log.error("configuration refused: workers go on with the one they have", reason=str(error))
            return False
        self._replace_candidate(found)
        log.info("configuration read anew")
        return True

    def activate(self, tried: ConfigSnapshot) -> None:
        """Note that a worker came up with what was read last, unless something newer was read since."""
        if tried is self.candidate and tried is not self.active:
            self.active.close()
            self.active = tried
            self.on_activated(tried)

    def discard_candidate(self) -> None:
        """Give up what was read last: no worker came up with it."""
        self._replace_candidate(self.active)

    def _replace_candidate(self, snapshot: ConfigSnapshot) -> None:
        if self.candidate is not self.active:
            self.candidate.close()
        self.candidate = snapshot

    def _fixed(self, found: ServerSettings) -> Mapping[str, str]:
        """What was changed but cannot be, as it was."""
        current = self.active.server
        kept = {name: str(of(current)) for name, of in _FIXED.items() if of(found) != of(current)}
        if found.uses_tls != current.uses_tls:
            paths = (current.tls_cert_file, current.tls_key_file, current.tls_client_ca_file)
            kept |= {name: str(path or "") for name, path in zip(TLS_FILES, paths, strict=True)}
        return kept


def _ignore(_: ConfigSnapshot) -> None:
    """Nobody follows."""
