"""Litestar plugin of the HTTP edge."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final

import structlog
from litestar import Litestar
from litestar.app import DEFAULT_OPENAPI_CONFIG
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import Schema
from litestar.plugins import InitPlugin, OpenAPISchemaPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition
from starkeel_asgi import DEFAULT_GROUP, LOAD_GROUP, pipeline_of
from starkeel_config import ServiceContext

from . import _compat
from ._base.rate import Rate
from ._base.route_options import Policy, check_limit_names, check_limits, is_compressed
from ._base.settings import HttpSettings
from ._compression.choice import Compression
from ._errors.report import problem_response, report_websocket
from ._idempotency.key import Idempotency, IdempotencyProvider, Replay, empty_response
from ._openapi.operation import closed_schema, documented, is_closed_struct
from ._request.media_types import AcceptedType
from ._request.parameter_bounds import check_bounds
from ._request.strict_json import ACCEPTED_TYPE, DECODER, StrictDecoder, strict_request_class
from ._request.strict_query import StrictQuery

if TYPE_CHECKING:
    from ._edge.edge import Edge
    from ._rate_limit.limiter import Limiter
    from ._rate_limit.streams import StreamLimits

log = structlog.get_logger(__name__)

_LIMIT_PREFIX: Final = "rate_limit_"


@final
class HttpPlugin(InitPlugin, ReceiveRoutePlugin, OpenAPISchemaPlugin):
    """Adds the HTTP edge to an application: problem details, timeout, limits, CORS, headers.

    Its position in the list of plugins does not matter.

    Args:
        settings: Settings of the edge.
        limits: Rate limits, by the names that `limit_by_address` and `limit_by_user` use.
        namespace: Separates this service's counters from others in the same Redis; defaults to the title of
            the OpenAPI document.

    Raises:
        ValueError: The name of a limit has characters that a header does not allow.
    """

    # Requests are served without Redis, according to `RATE_LIMIT_ON_ERROR`.
    readiness_critical = False

    def __init__(
        self,
        settings: HttpSettings,
        limits: Mapping[str, Rate] | None = None,
        *,
        namespace: str | None = None,
    ) -> None:
        self.settings = settings
        self.limits = dict(limits or {})
        check_limit_names(self.limits)
        self._namespace = namespace
        self._description: str | None = None
        self._workers = 1
        self._is_first = False
        codings, min_bytes = settings.compression_codings, settings.compression_min_bytes
        by_default, self._compression = (
            Compression(codings, min_bytes=min_bytes, is_always=is_always) if settings.compression else None
            for is_always in (False, True)
        )
        self._policy = Policy(settings.request_timeout_s, settings.max_body_bytes, compression=by_default)
        self._edge: Edge | None = None
        self._limiter: Limiter | None = None
        self._streams: StreamLimits | None = None
        self._idempotency = IdempotencyProvider()
        self._needs_store = False
        self._load_groups = {DEFAULT_GROUP}

    @classmethod
    def for_service(cls, groups: Mapping[str, HttpSettings], service: ServiceContext) -> Self:
        """Create the plugin from a service's settings.

        A field `rate_limit_NAME` of type `Rate` is the limit `NAME`. The OpenAPI document has the name and
        the description of the service, unless the application configures it.
        """
        limits = {
            name.removeprefix(_LIMIT_PREFIX): value
            for name in service.settings.__struct_fields__
            if name.startswith(_LIMIT_PREFIX) and isinstance(value := getattr(service.settings, name), Rate)
        }
        plugin = cls(service.only(groups), limits, namespace=service.name)
        plugin._description = service.description
        return plugin

    @property
    def readiness_name(self) -> str | None:
        """Name of the readiness check; None without Redis."""
        return "rate limits" if self.limits and self.settings.redis_url is not None else None

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the ASGI layer, the rendering of exceptions and the strict decoding of bodies."""
        # Lazy, as is the edge below: metrics must not be imported before the process is configured.
        from ._rate_limit.account import AccountLimit, AccountLimitProvider
        from ._rate_limit.limiter import Limiter
        from ._rate_limit.streams import StreamLimits
        from ._rate_limit.user_guard import with_user_limits
        from ._streams.open_streams import STREAMS_KEY, OpenStreams

        _compat.check()
        if self._description is not None and app_config.openapi_config is DEFAULT_OPENAPI_CONFIG:
            from ._openapi.page import openapi

            app_config.openapi_config = openapi(self._namespace or "", self._description)
        if self._namespace is None and app_config.openapi_config is not None:
            self._namespace = app_config.openapi_config.title
        if app_config.openapi_config is not None:
            from ._openapi.page_policy import with_page_policies

            app_config.openapi_config = with_page_policies(app_config.openapi_config)
        self._limiter = limiter = Limiter(
            redis_url=self.settings.redis_url,
            namespace=self._namespace or "service",
            on_error=self.settings.rate_limit_on_error,
        )
        open_streams = app_config.state[STREAMS_KEY] = OpenStreams(
            heartbeat_s=self.settings.stream_heartbeat_s, send_timeout_s=self.settings.stream_send_timeout_s
        )
        self._streams = streams = StreamLimits(
            per_address=self.settings.max_streams_per_address,
            per_user=self.settings.max_streams_per_user,
            open_streams=open_streams,
        )
        app_config.route_handlers = [
            with_user_limits(route, self.limits, limiter, streams) for route in app_config.route_handlers
        ]
        app_config.request_class = strict_request_class(app_config.request_class)
        app_config.exception_handlers.setdefault(Exception, problem_response)
        app_config.exception_handlers.setdefault(Replay, empty_response)
        app_config.dependencies.setdefault("idempotency", Provide(self._idempotency.provide))
        app_config.dependencies.setdefault("account_limit", Provide(AccountLimitProvider(limiter).provide))
        app_config.signature_types.extend((AccountLimit, Idempotency))
        app_config.after_exception.append(report_websocket)
        if app_config.logging_config is not None and hasattr(app_config.logging_config, "log_exceptions"):
            # The edge logs exceptions itself.
            app_config.logging_config.log_exceptions = "never"
        app_config.lifespan += [self._count_requests, open_streams.lifespan]
        app_config.on_startup.append(self._start)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Apply the options of a route's handlers.

        Raises:
            ImproperlyConfiguredException: A handler uses an undeclared limit, or declares a bound that
                Litestar does not enforce.
        """
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]  # type: ignore[attr-defined]  # the other kinds have one
        for handler in handlers:
            self._configure_handler(handler, f"{handler} at {route.path}")

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Return whether this plugin describes a type in the OpenAPI document."""
        return is_closed_struct(field_definition)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Describe a struct that rejects unknown fields."""
        return closed_schema(field_definition, schema_creator, self)

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set the number of workers among which limits are divided while they are not counted in Redis."""
        self._workers = workers
        self._is_first = role == "worker" and index == 0

    async def check_ready(self) -> None:
        """Raise if Redis is configured and does not count."""
        if self._limiter is not None:
            await self._limiter.check()

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Return the features with their state and its reason."""
        where = "in each worker" if self.settings.redis_url is None else "in Redis"
        rates = ", ".join(f"{name} {rate}" for name, rate in self.limits.items())
        yield "rate limits", bool(rates), f"{rates}; counted {where}" if rates else "no limits declared"
        shedding = self.settings.load_shedding
        yield "load shedding", shedding, f"LOAD_SHEDDING is {str(shedding).lower()}"
        for feature, variable, values in (
            ("allowed hosts", "ALLOWED_HOSTS", self.settings.allowed_hosts),
            ("cors", "CORS_ALLOWED_ORIGINS", self.settings.cors_allowed_origins),
            ("trusted proxies", "TRUSTED_PROXIES", self.settings.trusted_proxies),
            ("internal networks", "INTERNAL_NETWORKS", self.settings.internal_networks),
        ):
            yield feature, bool(values), f"{variable} {f'has {len(values)}' if values else 'is not set'}"

    def _configure_handler(self, handler: BaseRouteHandler, where: str) -> None:
        from ._edge.edge import POLICY
        from ._rate_limit.account import AccountLimit
        from ._rate_limit.streams import is_stream
        from ._rate_limit.user_guard import UserLimit

        counts_accounts = False
        most: int | None = self.settings.max_body_bytes
        if isinstance(handler, HTTPRouteHandler):
            most = _compat.set_max_body_bytes(handler, self.settings.max_body_bytes)
            check_bounds(handler, where)
            # Random examples, which need a library that images lack, change the document each time.
            handler.responses = {
                status: replace(response, generate_examples=False)
                for status, response in (handler.responses or {}).items()
            }
            parameters = _compat.parameters(handler).values()
            self._needs_store |= any(parameter.annotation is Idempotency for parameter in parameters)
            counts_accounts = any(parameter.annotation is AccountLimit for parameter in parameters)
            handler.opt[DECODER] = StrictDecoder(handler)
            if accepted := AcceptedType.of(handler):
                handler.opt[ACCEPTED_TYPE] = accepted
            handler.operation_class = documented(handler)
        self._load_groups.add(handler.opt.get(LOAD_GROUP, DEFAULT_GROUP))
        policy = self._policy.for_route(
            handler.opt,
            self.limits,
            max_body_bytes=most,
            query=StrictQuery.of(handler),
            is_stream=is_stream(handler),
            compression=self._compression_of(handler),
        )
        handler.opt[POLICY] = policy
        guards = handler.resolve_guards()
        check_limits(
            handler.opt,
            self.limits,
            where=where,
            has_guards=any(not isinstance(guard, UserLimit) for guard in guards),
            counts_accounts=counts_accounts,
        )
        if policy.by_user and not (guards and isinstance(guards[-1], UserLimit)):
            raise ImproperlyConfiguredException(
                f"the rate limit per user is not the last guard of {where}: pass the route to"
                " `Litestar`, and list plugins that add routes or guards before HttpPlugin"
            )

    def _compression_of(self, handler: BaseRouteHandler) -> Any:
        """Return how responses of a handler are compressed; `None` if they are not."""
        from ._rate_limit.streams import is_stream

        # What another application responds is its own.
        if not isinstance(handler, HTTPRouteHandler) or is_stream(handler):
            return None
        is_enabled = is_compressed(handler.opt)
        return {None: self._policy.compression, True: self._compression, False: None}[is_enabled]

    @asynccontextmanager
    async def _count_requests(self, _: Litestar) -> AsyncGenerator[None]:
        assert self._limiter is not None
        async with self._limiter.running(self.limits, workers=self._workers):
            yield

    def _start(self, app: Litestar) -> None:
        from ._edge.install import install

        store = next((plugin for plugin in app.plugins if hasattr(plugin, "claim_idempotency_key")), None)
        if self._needs_store and store is None:
            raise ImproperlyConfiguredException(
                "a route requires `idempotency`, but no plugin has `claim_idempotency_key` to store responses"
            )
        self._idempotency.store = store  # type: ignore[assignment]  # by shape
        assert self._limiter is not None
        assert self._streams is not None
        if self._is_first and self._workers > 1 and self.limits and self.settings.redis_url is None:
            # Not in `start_process`: logging may not be configured yet.
            log.warning(
                "rate limits divided among workers",
                workers=self._workers,
                reason="REDIS_URL is not set, so workers do not share counters",
            )
        if self._edge is not None:
            self._edge.open()
            return
        self._edge = install(
            pipeline_of(app), self.settings, self._policy, self._limiter, self._streams, self._load_groups
        )
