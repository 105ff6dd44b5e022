"""The service to run, and the process environment it is configured from."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from litestar import Litestar
    from starkeel_config import Resolved, ServiceSettings

ENVIRON = os.environ  # noqa: TID251 - the only access to the environment
NO_DOTENV = "/nonexistent/.env"


class Service(NamedTuple):
    """Describes a service by import paths, so that its modules are imported lazily.

    Args:
        name: Name of the service and of its distribution.
        settings: Settings class, as `module:Class`.
        app: Application factory, as `module:function`; called with the settings.
    """

    name: str
    settings: str
    app: str

    def resolve(
        self, environ: Mapping[str, str] = ENVIRON, *, dotenv: str = ".env"
    ) -> "Resolved[ServiceSettings]":
        """Read the settings from an environment and, in development, from a file.

        Raises:
            ConfigurationError: Settings are missing or invalid.
        """
        from pathlib import Path

        from starkeel_config import resolve

        return resolve(import_name(self.settings), environ, service=self.name, dotenv=Path(dotenv))

    def create_app(self, settings: "ServiceSettings") -> "Litestar":
        """Import the factory and create the application."""
        app: Litestar = import_name(self.app)(settings)
        return app

    def version(self) -> str:
        """Return the version of the installed distribution, `0` if there is none."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.name)
        except PackageNotFoundError:
            return "0"


def import_name(path: str) -> Any:
    """Import `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
