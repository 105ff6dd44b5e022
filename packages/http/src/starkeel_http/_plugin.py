"""Litestar plugin of the HTTP edge."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, final

import structlog
from litestar import Litestar, Request, Response
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

from ._base.rate import Rate
from ._base.route_options import Policy, check_limit_names, check_limits_declared
from ._base.settings import EdgeSettings

if TYPE_CHECKING:
    from ._edge.edge import Edge
    from ._idempotency.key import IdempotencyStore
    from ._idempotency.middleware import IdempotencyMiddleware
    from ._rate_limit.limiter import Limiter

log = structlog.get_logger(__name__)

ASGI_LAYER: Final = 10
"""Inside telemetry (20) and the drain layer (30)."""

_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


@final
class EdgePlugin(InitPlugin, ReceiveRoutePlugin):
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

    # Requests are served without Redis, as `RATE_LIMIT_ON_ERROR` says.
    readiness_critical = False

    def __init__(
        self,
        settings: EdgeSettings,
        limits: Mapping[str, Rate] | None = None,
        *,
        namespace: str | None = None,
    ) -> None:
        self.settings = settings
        self.limits = dict(limits or {})
        check_limit_names(self.limits)
        self._namespace = namespace
        self._workers = 1
        self._is_first = False
        self._policy = Policy(settings.request_timeout_s, settings.max_body_bytes)
        self._edge: Edge | None = None
        self._limiter: Limiter | None = None
        self._store: IdempotencyStore | None = None
        self._idempotency: IdempotencyMiddleware | None = None

    @property
    def readiness_name(self) -> str | None:
        """Name of the readiness check; None without Redis."""
        return "rate limits" if self.limits and self.settings.redis_url is not None else None

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the ASGI layer, the rendering of exceptions and the strict decoding of bodies."""
        # Lazy: a process that only reads settings must not import limits and metrics.
        from . import _compat
        from ._edge.guarded_routes import with_user_limits
        from ._idempotency.key import Idempotency, Replay, provide_idempotency
        from ._rate_limit.limiter import Limiter
        from ._request.strict_json import strict_request_class

        _compat.check()
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
        app_config.dependencies.setdefault("idempotency", Provide(provide_idempotency))
        app_config.signature_types.append(Idempotency)
        app_config.after_exception.append(_report_websocket)
        if app_config.logging_config is not None and hasattr(app_config.logging_config, "log_exceptions"):
            # The edge logs exceptions itself.
            app_config.logging_config.log_exceptions = "never"

        def wrap(app: Litestar) -> None:
            self._start(app)

        wrap.asgi_layer = ASGI_LAYER  # type: ignore[attr-defined]  # plugins sort start-up hooks by it
        app_config.on_startup.append(wrap)
        app_config.on_startup.sort(key=_layer)
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
            self._add_idempotency(handler)
            handler.opt[DECODER] = StrictDecoder(handler)
        policy = self._policy.for_route(handler.opt, max_body_bytes=most)
        check_limits_declared(policy, self.limits, where=where)
        handler.opt[POLICY] = policy
        guards = handler.resolve_guards()
        if policy.by_user and not (guards and isinstance(guards[-1], UserLimit)):
            raise ImproperlyConfiguredException(
                f"the guard of the rate limit per user is not the last one of {where}: pass the route to"
                " `Litestar`, and list plugins that add routes or guards before EdgePlugin"
            )

    def _add_idempotency(self, handler: HTTPRouteHandler) -> None:
        from ._idempotency.key import Idempotency
        from ._idempotency.middleware import IdempotencyMiddleware

        if not any(p.annotation is Idempotency for p in handler.parsed_fn_signature.parameters.values()):
            return
        if self._idempotency is None:
            self._idempotency = IdempotencyMiddleware(lambda: _require_store(self._store))
        # Innermost, inside the middleware that commits.
        handler.middleware = [*(handler.middleware or ()), self._idempotency]

    def _start(self, app: Litestar) -> None:
        from ._client_address.proxies import TrustedProxies
        from ._edge.cors import Cors
        from ._edge.edge import Edge, Rules

        self._store = next((p for p in app.plugins if hasattr(p, "claim_idempotency_key")), None)  # type: ignore[assignment]  # by shape
        if self._idempotency is not None:
            _require_store(self._store)
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
        rules = Rules(
            policy=self._policy,
            proxies=TrustedProxies(self.settings.trusted_proxies),
            cors=Cors(self.settings.cors_allowed_origins),
            limiter=self._limiter,
        )
        app.asgi_handler = self._edge = Edge(app, rules)


def _render(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    from ._edge.edge import report
    from ._edge.request_state import KEY, Exchange
    from ._errors.problem import MEDIA_TYPE

    problem = report(error, request.scope)
    exchange = request.scope["state"].get(KEY)
    path = exchange.path if isinstance(exchange, Exchange) else request.scope["path"]
    return Response(
        problem.body(path), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def _replay(_: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
    # The middleware replaces this response with the stored one.
    return Response(b"", status_code=200)


def _require_store(store: "IdempotencyStore | None") -> "IdempotencyStore":
    if store is None:
        raise ImproperlyConfiguredException(
            "a route requires `idempotency`, but no plugin has `claim_idempotency_key` to store responses"
        )
    return store


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


def _layer(hook: Any) -> int:
    layer: int = getattr(hook, "asgi_layer", 0)
    return layer
