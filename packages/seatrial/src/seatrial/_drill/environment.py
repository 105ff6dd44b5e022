"""Environment of the service that is started."""

import os
from collections.abc import Mapping

from .._config.model import DrillKeys

_EXPORT_MS = "200"


def service_environment(keys: DrillKeys, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an instance: those of this process, the collector, the configured, the ports.

    Args:
        keys: Configuration.
        values: Replaced in configured values: `port`, `admin_port`, `otlp_url` and `folder`.
    """
    environment = {
        **os.environ,  # noqa: TID251 - passed on, not read
        "OTEL_EXPORTER_OTLP_ENDPOINT": values["otlp_url"],
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": _EXPORT_MS,
        **{name: replaced(value, values) for name, value in keys.env.items()},
        keys.port_variable: values["port"],
    }
    if keys.admin_port_variable:
        environment[keys.admin_port_variable] = values["admin_port"]
    return environment


def replaced(text: str, values: Mapping[str, str]) -> str:
    """Return a text in which `{name}` is replaced by its value, for the names that have one."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
