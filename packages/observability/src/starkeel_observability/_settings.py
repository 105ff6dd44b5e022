"""Public settings: the fields, and the set-up of the main process."""

from typing import TYPE_CHECKING

from ._config.settings import TelemetrySettings

if TYPE_CHECKING:
    from ._process import ProcessSetup


class ObservabilitySettings(TelemetrySettings, frozen=True, kw_only=True):
    """Logs, metrics and traces; `OTEL_*` variables follow OpenTelemetry's specification."""

    def main_process(self) -> "ProcessSetup":
        """Return the set-up of the main process, which builds no application."""
        from ._process import ProcessSetup

        return ProcessSetup(self)
