"""Litestar plugin of the HTTP edge."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final

import structlog
from litestar import Litestar, Request, Response
from litestar.app import DEFAULT_OPENAPI_CONFIG
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Scope
from msgspec import Meta
from starkeel_asgi import current, pipeline_of
from starkeel_config import ServiceContext

from ._base.rate import Rate
from ._base.route_options import Policy, check_limit_names, check_limits_declared
from ._base.settings import HttpSettings

if TYPE_CHECKING:
    from ._edge.edge import Edge
    from ._idempotency.key import IdempotencyStore
    from ._rate_limit.limiter import Limiter

log = structlog.get_logger(__name__)

_LIMIT_PREFIX: Final = "rate_limit_"
_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


@final
class HttpPlugin(InitPlugin, ReceiveRoutePlugin):
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
        self._policy = Policy(settings.request_timeout_s, settings.max_body_bytes)
        self._edge: Edge | None = None
        self._limiter: Limiter | None = None
        self._store: IdempotencyStore | None = None
        self._needs_store = False

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
        # Lazy: a process that only reads settings must not import limits and metrics.
        from . import _compat
        from ._edge.guarded_routes import with_user_limits
        from ._idempotency.key import Idempotency, IdempotencyProvider, Replay
        from ._rate_limit.limiter import Limiter
        from ._request.strict_json import strict_request_class

        _compat.check()
        if self._description is not None and app_config.openapi_config is DEFAULT_OPENAPI_CONFIG:
            from ._openapi.page import openapi

            app_config.openapi_config = openapi(self._namespace or "", self._description)
        if self._namespace is None and app_config.openapi_config is not None:
            self._namespace = app_config.openapi_config.title
        self._limiter = Limiter(
            redis_url=self.settings.redis_url.reveal() if self.settings.redis_url is not None else None,
            namespace=self._namespace or "service",
            on_error=self.settings.rate_limit_on_error,
        )
        app_config.route_handlers = [
            with_user_limits(route, self._limiter) for route in app_config.route_handlers
        ]
        app_config.request_class = strict_request_class(app_config.request_class)
        app_config.exception_handlers.setdefault(Exception, _render)
        app_config.exception_handlers.setdefault(Replay, _replay)
        app_config.dependencies.setdefault(
            "idempotency", Provide(IdempotencyProvider(self._found_store).provide)
        )
        app_config.signature_types.append(Idempotency)
        app_config.after_exception.append(_report_websocket)
        if app_config.logging_config is not None and hasattr(app_config.logging_config, "log_exceptions"):
            # The edge logs exceptions itself.
            app_config.logging_config.log_exceptions = "never"

        def wrap(app: Litestar) -> None:
            self._start(app)

        app_config.on_startup.append(wrap)
        app_config.on_shutdown.append(self._limiter.close)
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

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set the number of workers among which limits are divided without Redis.

        Args:
            role: Role of this process.
            index: Index of the worker.
            workers: Number of workers.
        """
        if self.limits and self.settings.redis_url is None:
            self._workers = workers
        self._is_first = role == "worker" and index == 0

    async def check_ready(self) -> None:
        """Raise if Redis is configured and unavailable."""
        if self.limits and self._limiter is not None:
            await self._limiter.check()

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Return the features with their state and its reason."""
        where = "in each worker" if self.settings.redis_url is None else "in Redis"
        rates = ", ".join(f"{name} {rate}" for name, rate in self.limits.items())
        yield (
            "rate limits",
            bool(self.limits),
            f"{rates}; counted {where}" if rates else "no limits declared",
        )
        origins = len(self.settings.cors_allowed_origins)
        yield "cors", bool(origins), _set("CORS_ALLOWED_ORIGINS", origins)
        proxies = len(self.settings.trusted_proxies)
        yield "trusted proxies", bool(proxies), _set("TRUSTED_PROXIES", proxies)

    def _configure_handler(self, handler: BaseRouteHandler, where: str) -> None:
        from . import _compat
        from ._edge.edge import POLICY
        from ._edge.user_limit import UserLimit
        from ._request.strict_json import DECODER, StrictDecoder

        most: int | None = self.settings.max_body_bytes
        if isinstance(handler, HTTPRouteHandler):
            most = _compat.set_max_body_bytes(handler, self.settings.max_body_bytes)
            _check_bounds(handler, where)
            self._needs_store = self._needs_store or _takes_idempotency(handler)
            handler.opt[DECODER] = StrictDecoder(handler)
        policy = self._policy.for_route(handler.opt, max_body_bytes=most)
        check_limits_declared(policy, self.limits, where=where)
        handler.opt[POLICY] = policy
        guards = handler.resolve_guards()
        if policy.by_user and not (guards and isinstance(guards[-1], UserLimit)):
            raise ImproperlyConfiguredException(
                f"the rate limit per user is not the last guard of {where}: pass the route to"
                " `Litestar`, and list plugins that add routes or guards before HttpPlugin"
            )

    def _found_store(self) -> "IdempotencyStore":
        assert self._store is not None
        return self._store

    def _start(self, app: Litestar) -> None:
        from ._base.headers import SECURITY_HEADERS, SECURITY_HEADERS_HTTPS
        from ._client_address.layer import ClientAddress
        from ._client_address.proxies import TrustedProxies
        from ._edge.cors import Cors
        from ._edge.edge import Edge, Rules, close_message, error_response

        self._store = next((p for p in app.plugins if hasattr(p, "claim_idempotency_key")), None)  # type: ignore[assignment]  # by shape
        if self._needs_store and self._store is None:
            raise ImproperlyConfiguredException(
                "a route requires `idempotency`, but no plugin has `claim_idempotency_key` to store responses"
            )
        assert self._limiter is not None
        self._limiter.open({name: rate.shared_by(self._workers) for name, rate in self.limits.items()})
        if self._workers > 1 and self._is_first:
            # Not in `start_process`: logging may not be configured yet.
            log.warning(
                "rate limits divided among workers",
                workers=self._workers,
                reason="REDIS_URL is not set, so workers do not share counters",
            )
        if self._edge is not None:
            self._edge.open()
            return
        pipeline = pipeline_of(app)
        if proxies := TrustedProxies(self.settings.trusted_proxies):
            pipeline.add(ClientAddress(proxies))
        cors = Cors(self.settings.cors_allowed_origins)
        self._edge = Edge(Rules(policy=self._policy, cors=cors, limiter=self._limiter))
        pipeline.add(self._edge)
        pipeline.error_response = error_response
        pipeline.config.close_message = close_message
        pipeline.config.set_default_headers(http=SECURITY_HEADERS, https=SECURITY_HEADERS_HTTPS)


def _render(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    from ._edge.edge import report
    from ._errors.problem import MEDIA_TYPE

    problem = report(error, request.scope)
    exchange = current(request.scope)
    path = request.scope["path"] if exchange is None else exchange.path
    return Response(
        problem.body(path), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def _replay(_: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
    # The middleware replaces this response with the stored one.
    return Response(b"", status_code=200)


def _takes_idempotency(handler: HTTPRouteHandler) -> bool:
    from ._idempotency.key import Idempotency

    return any(p.annotation is Idempotency for p in handler.parsed_fn_signature.parameters.values())


def _report_websocket(error: Exception, scope: Scope) -> None:
    from litestar.exceptions import WebSocketException

    from ._edge.edge import report

    if scope["type"] == ScopeType.WEBSOCKET and not isinstance(error, WebSocketException):
        report(error, scope)


def _check_bounds(handler: HTTPRouteHandler, where: str) -> None:
    """Reject bounds on parameters that Litestar documents and does not enforce."""
    from ._compat import parameters

    for name, field in parameters(handler).items():
        kwarg = field.kwarg_definition
        if not isinstance(kwarg, ParameterKwarg):
            continue
        for meta in field.metadata:
            if not isinstance(meta, Meta):
                continue
            bounds = [b for b in _BOUNDS if getattr(meta, b) is not None and getattr(kwarg, b) is None]
            if bounds:
                raise ImproperlyConfiguredException(
                    f"parameter `{name}` of {where} has a bound in `msgspec.Meta`, which Litestar does not"
                    f" enforce for parameters: pass `{bounds[0]}` to `QueryParameter` (or header, cookie)"
                )


def _set(variable: str, count: int) -> str:
    return f"{variable} has {count}" if count else f"{variable} is not set"
