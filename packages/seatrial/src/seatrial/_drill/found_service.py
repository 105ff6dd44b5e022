"""The service of an instance, as rows address it."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from .._config.model import Paths
from .._target.client import Client
from .._target.exchange import Connector
from .._target.service import Service
from .instance import Instance

if TYPE_CHECKING:
    from .drill import Drill


class FoundService(Service):
    """The service of an instance, with the token of the drill.

    Args:
        drill: The drill.
        instance: The instance.
        paths: Paths that were found before, or that are configured.
    """

    def __init__(self, drill: "Drill", instance: Instance, paths: Paths) -> None:
        client = Client(drill.connector(instance), drill.budget)
        admin = None
        if drill.keys.admin_port_variable:
            admin = Client(Connector(instance.admin_address, None, drill.config.timeout_s), drill.budget)
        super().__init__(client, admin, replace(drill.config, paths=paths))
        self._drill = drill

    @cached_property
    def token(self) -> str | None:
        """The token; a command is run once, with the URL of the instance that needs it first."""
        return self._drill.token(self)
