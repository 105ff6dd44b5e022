"""Endpoints for orders."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Example, Link
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import Principal, requires_scope
from starkeel_client import UpstreamClient
from starkeel_db import read_only, repeat_conflicts
from starkeel_http import (
    EntityTags,
    Idempotency,
    check_preconditions,
    compression,
    limit_by_user,
    problem_responses,
    response_links,
)
from starkeel_jobs import JobsPlugin
from starkeel_messaging import MessagingPlugin

from .accounts_client import AccountsClient
from .confirmations import ConfirmationMail, send_order_confirmation
from .etags import etag, parse_if_match
from .orders import Order, Orders, view
from .pagination import CURSOR_PATTERN, PageCursor
from .schemas import EXAMPLE_CURSOR, EXAMPLE_ID, Change, OrderView, Page, Placement
from .users import require_active, user_id_of

_READ = [requires_scope("orders:read")]
_WRITE = [requires_scope("orders:write")]
_ETAG = ResponseHeader(
    name="ETag", description="Version of the order, for `If-Match`.", documentation_only=True
)
_LOCATION = ResponseHeader(name="Location", description="URL of the order.", documentation_only=True)
_LINK = ResponseHeader(
    name="Link", description='Next page (`rel="next"`), except on the last page.', documentation_only=True
)
_TAG = [Example(value='"1"')]
_BY_ID = {"order_id": "$response.body#/id"}
_CURRENT = {"order_id": "$response.body#/id", "If-Match": "$response.header.ETag"}
# What can be done with the order of a response.
_OF_ORDER = {
    "get": Link(operation_id="ApiOrdersOrderIdOne", parameters=_BY_ID, description="Get the order."),
    "change": Link(operation_id="ApiOrdersOrderIdChange", parameters=_CURRENT, description="Change it."),
    "cancel": Link(
        operation_id="ApiOrdersOrderIdCancelCancel", parameters=_CURRENT, description="Cancel it."
    ),
}
_NEXT_PAGE = Link(
    operation_id="ApiOrdersPage",
    parameters={"cursor": "$response.body#/next_cursor"},
    description="Get the next page, unless `next_cursor` is null.",
)

OrderId = Annotated[
    UUID, PathParameter(description="`id` of the order.", examples=[Example(value=EXAMPLE_ID)])
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1024,
        description="`ETag` of the order; required.",
        examples=_TAG,
        schema_extra={"pattern": EntityTags.pattern},
    ),
]
OptionalIfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1024,
        description="`ETag` of the order.",
        examples=_TAG,
        schema_extra={"pattern": EntityTags.pattern},
    ),
]
Limit = Annotated[
    int,
    QueryParameter(
        ge=1, le=100, description="Maximum number of orders on the page.", examples=[Example(value=20)]
    ),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        description="`next_cursor` of the previous page.",
        examples=[Example(value=EXAMPLE_CURSOR)],
        schema_extra={"pattern": CURSOR_PATTERN},
    ),
]


def provide_orders(
    session: NamedDependency[AsyncSession],
    messaging: NamedDependency[MessagingPlugin],
    principal: NamedDependency[Principal],
) -> Orders:
    """Return the caller's orders within the request's unit of work."""
    return Orders(session, messaging, user_id_of(principal))


class OrderController(Controller):
    """The caller's orders."""

    path = "/api/orders"
    tags = ("orders",)
    dependencies = {"orders": Provide(provide_orders, sync_to_thread=False)}  # noqa: RUF012  (Litestar's own form)

    @post(
        summary="Place an order",
        guards=_WRITE,
        opt=limit_by_user("order_creation") | response_links({201: _OF_ORDER}),
        response_description="The new order.",
        response_headers=[_LOCATION, _ETAG],
        responses=problem_responses(400, 401, 403, 409, 413, 415, 422, 429, 502, 503, 504),
    )
    async def place(
        self,
        data: JSONBody[Placement],
        principal: NamedDependency[Principal],
        accounts_client: NamedDependency[UpstreamClient],
        idempotency: NamedDependency[Idempotency],
        orders: NamedDependency[Orders],
        session: NamedDependency[AsyncSession],
        jobs: NamedDependency[JobsPlugin],
        confirmation_mail: NamedDependency[ConfirmationMail],
    ) -> Response[OrderView]:
        """Place an order. Accounts must confirm that the user is active.

        It is confirmed by mail if the user has confirmed its address.
        """
        user = await require_active(principal, AccountsClient(accounts_client))
        await idempotency.claim()
        # An address that is not confirmed may be that of another person.
        email = user.email if confirmation_mail.is_on and user.email_verified else None
        order = await orders.place(product_type=data.product_type, quantity=data.quantity, email=email)
        if email is not None:
            await jobs.enqueue(session, send_order_confirmation, order_id=order.id)
        return _response(order, Location=f"/api/orders/{order.id}")

    @get(
        summary="List orders",
        guards=_READ,
        opt=read_only()
        | limit_by_user("order_reading")
        # Nothing on a page is a secret that a request could be compared with.
        | compression()
        | response_links({200: {"next": _NEXT_PAGE}}),
        response_description="A page of orders, newest first.",
        response_headers=[_LINK],
        responses=problem_responses(400, 401, 403, 429, 503),
    )
    async def page(
        self, orders: NamedDependency[Orders], limit: Limit = 20, cursor: Cursor = None
    ) -> Response[Page]:
        """Return the caller's orders, newest first. Orders placed meanwhile do not shift the next page."""
        after = PageCursor.decode(cursor) if cursor is not None else None
        found = await orders.page(after=after, limit=limit + 1)
        items = [view(order) for order in found[:limit]]
        if len(found) <= limit:
            return Response(Page(items=items, next_cursor=None))
        next_cursor = PageCursor(items[-1].created_at, items[-1].id).encode()
        return Response(
            Page(items=items, next_cursor=next_cursor),
            headers={"Link": f'</api/orders?limit={limit}&cursor={next_cursor}>; rel="next"'},
        )

    @get(
        "/{order_id:uuid}",
        summary="Get an order",
        guards=_READ,
        opt=read_only() | limit_by_user("order_reading") | response_links({200: _OF_ORDER}),
        response_description="The order.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 412, 429, 503),
    )
    async def one(self, order_id: OrderId, orders: NamedDependency[Orders]) -> Response[OrderView]:
        """Return one of the caller's orders; 404 for an order of another user."""
        return _response(await orders.get(order_id))

    @patch(
        "/{order_id:uuid}",
        summary="Change an order",
        guards=_WRITE,
        opt=repeat_conflicts() | limit_by_user("order_changes") | response_links({200: _OF_ORDER}),
        response_description="The changed order.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 409, 412, 413, 415, 428, 429, 503),
    )
    async def change(
        self,
        order_id: OrderId,
        data: JSONBody[Change],
        orders: NamedDependency[Orders],
        request: Request[Any, Any, Any],
        if_match: IfMatch = None,
    ) -> Response[OrderView]:
        """Change the quantity of an open order, if `If-Match` names its current version."""
        versions = parse_if_match(if_match)
        if "If-None-Match" in request.headers:
            check_preconditions(request, etag((await orders.get(order_id)).version))
        return _response(await orders.change_quantity(order_id, quantity=data.quantity, versions=versions))

    @post(
        "/{order_id:uuid}/cancel",
        summary="Cancel an order",
        status_code=200,
        guards=_WRITE,
        opt=repeat_conflicts() | limit_by_user("order_changes") | response_links({200: _OF_ORDER}),
        response_description="The cancelled order.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 412, 429, 503),
    )
    async def cancel(
        self,
        order_id: OrderId,
        orders: NamedDependency[Orders],
        request: Request[Any, Any, Any],
        if_match: OptionalIfMatch = None,
    ) -> Response[OrderView]:
        """Cancel an order, if it has the version in `If-Match`. Repeating it returns the same response."""
        versions = None if if_match is None else parse_if_match(if_match)
        if "If-None-Match" in request.headers:
            check_preconditions(request, etag((await orders.get(order_id)).version))
        return _response(await orders.cancel(order_id, versions=versions))


def _response(order: Order, **headers: str) -> Response[OrderView]:
    # A proxy that compressed the response would change the tag, or remove it.
    caching = {"Cache-Control": "no-store, no-transform", "ETag": etag(order.version)}
    return Response(view(order), headers=caching | headers)
