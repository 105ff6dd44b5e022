"""A service of the registry with three more routes: `python -m tools.trial.disturbed NAME`.

The routes are mounted in the service's own application, behind all its layers and on its own server.
"""

import asyncio
import sys
from importlib import import_module

from litestar import Litestar, get
from starkeel_config import ServiceSettings
from starkeel_server import Service, run

SLOW_PATH = "/trial/slow"
ENDLESS_PATH = "/trial/endless"
ERROR_PATH = "/trial/error"
_SLOW_S = 2.0
_ENDLESS_S = 3600.0


@get(SLOW_PATH, include_in_schema=False)
async def slow() -> str:
    """Respond after some time."""
    await asyncio.sleep(_SLOW_S)
    return "done"


@get(ENDLESS_PATH, include_in_schema=False)
async def endless() -> str:
    """Respond after any timeout."""
    await asyncio.sleep(_ENDLESS_S)
    return "done"


@get(ERROR_PATH, include_in_schema=False)
async def error() -> str:
    """Fail as a fault of the program does."""
    raise RuntimeError("a fault of the program")


def create_app(settings: ServiceSettings) -> Litestar:
    """Create the application of the service that these settings belong to, with the routes."""
    app = _service(type(settings).__module__.partition(".")[0]).create_app(settings)
    for handler in (slow, endless, error):
        app.register(handler)
    return app


def _service(name: str) -> Service:
    service: Service = import_module(name).SERVICE
    return service


if __name__ == "__main__":
    run(_service(sys.argv.pop(1))._replace(app="tools.trial.disturbed:create_app"))
