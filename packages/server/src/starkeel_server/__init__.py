"""Run a Litestar service on Granian: startup, health checks, admin port, graceful shutdown.

Names are imported on first use: probes run `python -m SERVICE health` every few seconds, and it needs no
framework.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._app.build import application, build
    from ._app.plugin import ServerPlugin
    from ._app.readiness import Check, sqlalchemy_check
    from ._cli.parser import run
    from ._config.service import Service
    from ._config.settings import ServerSettings
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_app.build": ["application", "build"],
            "_app.plugin": ["ServerPlugin"],
            "_app.readiness": ["Check", "sqlalchemy_check"],
            "_cli.parser": ["run"],
            "_config.service": ["Service"],
            "_config.settings": ["ServerSettings"],
        },
    )

__all__ = [
    "Check",
    "ServerPlugin",
    "ServerSettings",
    "Service",
    "application",
    "build",
    "run",
    "sqlalchemy_check",
]
