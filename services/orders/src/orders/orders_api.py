"""The orders' part of the interface."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import Principal, requires_scope
from starkeel_client import UpstreamClient
from starkeel_db import Outbox, read_only, repeat_conflicts
from starkeel_http import Idempotency, limit_by_user, problem_responses

from .etags import Versions, etag
from .messages import Change, OrderView, Page, Placement, view
from .news import News
from .orders import Order, Orders
from .pages import Position
from .users import require_active, user_id_of

_READ = [requires_scope("orders:read")]
_WRITE = [requires_scope("orders:write")]
_ETAG = ResponseHeader(name="ETag", description="Version, for `If-Match`.", documentation_only=True)
_LOCATION = ResponseHeader(name="Location", description="Where the order is.", documentation_only=True)
_LINK = ResponseHeader(name="Link", description='`rel="next"`, but on the last.', documentation_only=True)

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1024,
        description="The order's `ETag` as you read it; required.",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Orders on the page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=64, description="`next_cursor` of the page before.")]


def provide_orders(session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]) -> Orders:
    """Give the caller's orders in this request's unit of work."""
    return Orders(session, user_id_of(principal))


def provide_news(session: NamedDependency[AsyncSession], outbox: NamedDependency[Outbox]) -> News:
    """Give what tells the outside of this request's unit of work."""
    return News(session, outbox)


class OrderController(Controller):
    """One's own orders."""

    path = "/api/orders"
    tags = ("orders",)
    dependencies = {  # noqa: RUF012  (Litestar's own form)
        "orders": Provide(provide_orders, sync_to_thread=False),
        "news": Provide(provide_news, sync_to_thread=False),
    }

    @post(
        summary="Place an order",
        guards=_WRITE,
        opt=limit_by_user("order_creation"),
        response_description="The new order.",
        response_headers=[_LOCATION, _ETAG],
        responses=problem_responses(400, 401, 403, 409, 413, 422, 429, 502, 503, 504),
    )
    async def place(
        self,
        data: JSONBody[Placement],
        principal: NamedDependency[Principal],
        accounts_client: NamedDependency[UpstreamClient],
        idempotency: NamedDependency[Idempotency],
        orders: NamedDependency[Orders],
        news: NamedDependency[News],
    ) -> Response[OrderView]:
        """Order so many of a product, if accounts says that the user is still active."""
        await require_active(principal, accounts_client)
        await idempotency.claim()
        order = await orders.place(product_type=data.product_type, quantity=data.quantity)
        await news.created(order)
        return _answer(order, status_code=201, headers={"Location": f"/api/orders/{order.id}"})

    @get(
        summary="List my orders",
        guards=_READ,
        opt=read_only(),
        response_description="A page, the newest first.",
        response_headers=[_LINK],
        responses=problem_responses(400, 401, 403, 503),
    )
    async def page(
        self, orders: NamedDependency[Orders], limit: Limit = 20, cursor: Cursor = None
    ) -> Response[Page]:
        """Return orders from the newest on; orders placed meanwhile neither repeat nor hide one."""
        after = Position.parse(cursor) if cursor is not None else None
        found = await orders.page(after=after, limit=limit + 1)
        shown = found[:limit]
        if len(found) <= limit:
            return Response(Page(items=[view(order) for order in shown], next_cursor=None))
        following = Position(shown[-1].created_at, shown[-1].id).cursor()
        return Response(
            Page(items=[view(order) for order in shown], next_cursor=following),
            headers={"Link": f'</api/orders?limit={limit}&cursor={following}>; rel="next"'},
        )

    @get(
        "/{order_id:uuid}",
        summary="Look at an order",
        guards=_READ,
        opt=read_only(),
        response_description="The order.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 503),
    )
    async def one(self, order_id: FromPath[UUID], orders: NamedDependency[Orders]) -> Response[OrderView]:
        """Return one of the caller's orders; another's is as if there were none."""
        return _answer(await orders.one(order_id))

    @patch(
        "/{order_id:uuid}",
        summary="Change an order",
        guards=_WRITE,
        opt=repeat_conflicts(),
        response_description="The order as it is now.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 409, 412, 413, 428, 503),
    )
    async def change(
        self,
        order_id: FromPath[UUID],
        data: JSONBody[Change],
        orders: NamedDependency[Orders],
        news: NamedDependency[News],
        if_match: IfMatch = None,
    ) -> Response[OrderView]:
        """Set another quantity while the order is open, and only if it is still as the caller read it."""
        expected = Versions.parse(if_match)
        order = await orders.change_quantity(order_id, quantity=data.quantity, expected=expected)
        await news.changed(order)
        return _answer(order)

    @post(
        "/{order_id:uuid}/cancel",
        summary="Cancel an order",
        status_code=200,
        guards=_WRITE,
        opt=repeat_conflicts(),
        response_description="The cancelled order.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 503),
    )
    async def cancel(
        self, order_id: FromPath[UUID], orders: NamedDependency[Orders], news: NamedDependency[News]
    ) -> Response[OrderView]:
        """Cancel an order. Asked again it answers the same: the order is cancelled."""
        order, is_news = await orders.cancel(order_id)
        if is_news:
            await news.cancelled(order)
        return _answer(order)


def _answer(
    order: Order, *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response[OrderView]:
    tagged = {"ETag": etag(order.version)} | (headers or {})
    return Response(view(order), status_code=status_code, headers=tagged)
