"""Public settings: the fields, and the set-up of the main process."""

from typing import TYPE_CHECKING, ClassVar

from ._config.settings import TelemetrySettings

if TYPE_CHECKING:
    from ._process import ProcessSetup


class ObservabilitySettings(TelemetrySettings, frozen=True, kw_only=True):
    """Logs, metrics and traces; `OTEL_*` variables follow OpenTelemetry's specification."""

    plugin: ClassVar[str | None] = "starkeel_observability:ObservabilityPlugin"

    def main_process(self) -> "ProcessSetup":
        """Return the set-up of the main process, which builds no application."""
        from ._process import ProcessSetup

        return ProcessSetup(self)
