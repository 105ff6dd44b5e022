"""Names of the commands that every service has."""

from typing import Final

BUILT_IN: Final = (
    *("serve", "worker", "config", "migrate", "revision", "backup", "restore", "openapi", "asyncapi"),
    "health",
)
"""Names of the commands that are not those of plugins."""
