"""Litestar plugin that provides upstream clients."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self, final

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin
from starkeel_config import ServiceContext

from ._client import UpstreamClient, provider
from ._settings import UpstreamSettings
from ._upstream import Upstream


@final
class ClientPlugin(InitPlugin):
    """Opens a connection pool for each upstream and provides clients to handlers.

    Its position in the list of plugins does not matter. Readiness does not check upstreams: otherwise an
    unavailable one would take every service that calls it out of the load balancer.

    Args:
        upstreams: Settings by name: `accounts=...` provides the dependency `accounts_client`.
    """

    def __init__(self, **upstreams: UpstreamSettings) -> None:
        self._upstreams = {name: Upstream(name, settings) for name, settings in upstreams.items()}

    @classmethod
    def for_service(cls, groups: Mapping[str, UpstreamSettings], _service: ServiceContext) -> Self:
        """Create the plugin from a service's settings; the name of a field is the name of an upstream."""
        return cls(**groups)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependencies and open the pools during the lifespan."""
        for name, upstream in self._upstreams.items():
            provide = Provide(provider(upstream), sync_to_thread=False)
            app_config.dependencies.setdefault(f"{name}_client", provide)
        app_config.lifespan.append(self._lifespan)
        return app_config

    def client(self, name: str) -> UpstreamClient:
        """Return a client for calls outside of a request, limited only by the upstream's timeout.

        Raises:
            KeyError: There is no upstream with that name.
        """
        return UpstreamClient(self._upstreams[name], {})

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Return this plugin's lines of the start report."""
        for name, upstream in self._upstreams.items():
            yield f"calls to {name}", True, f"at {upstream.settings.url}"

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for upstream in self._upstreams.values():
                await stack.enter_async_context(upstream.open())
            yield
