"""The application for other ASGI servers."""

import atexit
import sys
from typing import TYPE_CHECKING

from starkeel_config import ConfigurationError

from .._config.service import Service
from .plugin_hooks import PluginHooks

if TYPE_CHECKING:
    from litestar import Litestar

_FLUSH_S = 3.0


def application(service: Service) -> "Litestar":
    """Create a service's application from the environment, for `litestar --app` and other ASGI servers.

    Migrations are not run, and draining is left to the server.

    Raises:
        SystemExit: With 78 if the configuration is invalid; the problems are written to stderr.
    """
    try:
        app = service.create_app(service.resolve().settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    hooks = PluginHooks(app)
    hooks.start_process(role="worker", index=0, workers=1)
    atexit.register(hooks.stop_process, timeout_s=_FLUSH_S)
    return app
