"""What is run: a name, its settings and the factory of its application."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
from starkeel_config import ServiceSettings

if TYPE_CHECKING:
    from litestar import Litestar

ENVIRON = os.environ  # noqa: TID251 - the entry of every service; it is read once and given to `load`


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service, told by names so that nothing of it is imported before it is needed.

    Args:
        name: Name of the service and of its distribution.
        settings: Its settings class, as `module:Class`.
        app: The factory of its application, as `module:function`; it is given the settings.
    """

    name: str
    settings: str
    app: str

    def settings_class(self) -> type[ServiceSettings]:
        """Import the settings class."""
        found: type[ServiceSettings] = _imported(self.settings)
        return found

    def create_app(self, settings: ServiceSettings) -> "Litestar":
        """Import the factory and make the application."""
        app: Litestar = _imported(self.app)(settings)
        return app

    def version(self) -> str:
        """Version of the installed distribution; `0` when the service is not installed as one."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(self.name)
        except PackageNotFoundError:
            return "0"


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
