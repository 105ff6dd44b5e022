"""Build an application from the settings of a service, also for other ASGI servers."""

import atexit
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import structlog
from litestar import Litestar
from litestar.types import ControllerRouterHandler
from starkeel_config import ConfigurationError, ServiceContext, ServiceSettings, Settings

from .._config.service import Service, import_name
from .plugin_hooks import PluginHooks

_FLUSH_S = 3.0

log = structlog.get_logger(__name__)


def application(service: Service) -> Litestar:
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
    log.warning("connections not limited", reason="another server accepts them")
    atexit.register(hooks.stop_process, timeout_s=_FLUSH_S)
    return app


def build(
    service: Service,
    settings: ServiceSettings,
    *,
    handlers: Sequence[ControllerRouterHandler],
    plugins: Iterable[Any] = (),
    **options: Any,
) -> Litestar:
    """Build the application of a service: each group of its settings creates its own plugin.

    Args:
        service: The service.
        settings: Its settings; the first sentence of their docstring describes the service.
        handlers: Route handlers, controllers and routers.
        plugins: Further plugins. One of the kind that a group would create takes its place.
        options: Further arguments of `Litestar`.

    Raises:
        TypeError: A group cannot create its plugin without more than settings.
    """
    doc = (type(settings).__doc__ or service.name).strip()
    context = ServiceContext(
        name=service.name,
        package=service.app.partition(":")[0].partition(".")[0],
        settings=settings,
        description=doc.partition("\n\n")[0],
    )
    given = list(plugins)
    created = [
        kind.for_service(groups, context)
        for kind, groups in _groups(settings).items()
        if not any(isinstance(plugin, kind) for plugin in given)
    ]
    return Litestar(route_handlers=handlers, plugins=[*created, *given], **options)


def _groups(settings: ServiceSettings) -> dict[Any, dict[str, Settings]]:
    """Return the groups of settings by the kind of plugin that they create, in the order of the fields."""
    found: dict[Any, dict[str, Settings]] = {}
    for field in msgspec.structs.fields(settings):
        group = getattr(settings, field.name)
        if isinstance(group, Settings) and group.plugin is not None:
            found.setdefault(import_name(group.plugin), {})[field.name] = group
    return found
