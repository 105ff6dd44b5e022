"""The service to run, and the process environment it is configured from."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starkeel_config import Resolved, ServiceSettings, resolve

if TYPE_CHECKING:
    from litestar import Litestar

ENVIRON = os.environ  # noqa: TID251 - the only access to the environment
NO_DOTENV = Path("/nonexistent/.env")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Describes a service by import paths, so that its modules are imported lazily.

    Args:
        name: Name of the service and of its distribution.
        settings: Settings class, as `module:Class`.
        app: Application factory, as `module:function`; called with the settings.
    """

    name: str
    settings: str
    app: str

    def settings_class(self) -> type[ServiceSettings]:
        """Import and return the settings class."""
        found: type[ServiceSettings] = _import(self.settings)
        return found

    def resolve(
        self, environ: Mapping[str, str] = ENVIRON, *, dotenv: Path = Path(".env")
    ) -> Resolved[ServiceSettings]:
        """Read the settings from an environment.

        Raises:
            ConfigurationError: Settings are missing or invalid.
        """
        return resolve(self.settings_class(), environ, service=self.name, dotenv=dotenv)

    def create_app(self, settings: ServiceSettings) -> "Litestar":
        """Import the factory and create the application."""
        app: Litestar = _import(self.app)(settings)
        return app

    def version(self) -> str:
        """Return the version of the installed distribution, `0` if there is none."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.name)
        except PackageNotFoundError:
            return "0"


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
