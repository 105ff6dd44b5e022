"""Installation of the edge in an application that starts."""

from collections.abc import Iterable

from starkeel_asgi import Pipeline

from .._base.addresses import membership
from .._base.hosts import host_check
from .._base.route_options import Policy
from .._base.settings import HttpSettings
from .._client_address.layer import ClientAddress
from .._errors.report import close_message, error_response
from .._rate_limit.limiter import Limiter
from .._rate_limit.streams import StreamLimits
from .edge import Edge
from .headers import HTTPS_HEADERS, PAGE_HEADERS, SECURITY_HEADERS, Cors
from .load import Shedding
from .request_limits import RequestLimits


def install(
    pipeline: Pipeline,
    settings: HttpSettings,
    policy: Policy,
    limiter: Limiter,
    streams: StreamLimits,
    load_groups: Iterable[str],
) -> Edge:
    """Add the layers of the edge to a pipeline, and set what they share with all others.

    Args:
        pipeline: The pipeline of the application.
        settings: Settings of the edge.
        policy: The policy of requests whose route has none.
        limiter: Counts requests.
        streams: Counts open event streams and WebSockets.
        load_groups: Names of all groups of routes that have a concurrency limit under load.
    """
    if settings.trusted_proxies:
        addresses = ClientAddress(settings.trusted_proxies)
        pipeline.add(addresses)
        pipeline.config.is_trusted_peer = addresses.is_trusted
    origins = settings.cors_allowed_origins
    limits = RequestLimits(
        url_bytes=settings.max_url_bytes, headers=settings.max_headers, header_bytes=settings.max_header_bytes
    )
    edge = Edge(policy, Cors(origins) if origins else None, limiter, streams, limits)
    pipeline.add(edge)
    if settings.load_shedding:
        pipeline.config.load_policy = Shedding(
            settings.load_max_wait_s, settings.load_shed_first, load_groups
        )
    pipeline.config.is_host_allowed = host_check(settings.allowed_hosts)
    pipeline.config.is_internal = membership(settings.internal_networks)
    pipeline.error_response = error_response
    pipeline.config.problem_types_url = settings.problem_types_url
    pipeline.config.close_message = close_message
    pipeline.config.set_default_headers(SECURITY_HEADERS, https=HTTPS_HEADERS, pages=PAGE_HEADERS)
    return edge
