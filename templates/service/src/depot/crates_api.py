"""Endpoints for crates."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Example, Link
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_auth import Principal, requires_scope
from starkeel_client import UpstreamClient
from starkeel_db import OutboxPlugin, read_only, repeat_conflicts
from starkeel_http import (
    EntityTags,
    Idempotency,
    check_preconditions,
    compression,
    limit_by_user,
    problem_responses,
    response_links,
)

from .accounts_client import AccountsClient
from .crates import Crate, Crates, view
from .etags import etag, parse_if_match
from .pagination import CURSOR_PATTERN, PageCursor
from .schemas import EXAMPLE_CURSOR, EXAMPLE_ID, CrateChange, CrateCreation, CratePage, CrateView
from .users import require_active, user_id_of

_PATH = "/api/depot/crates"
_READ = [requires_scope("depot:read")]
_WRITE = [requires_scope("depot:write")]
_ETAG = ResponseHeader(name="ETag", description="Its version, for `If-Match`.", documentation_only=True)
_LOCATION = ResponseHeader(name="Location", description="Its URL.", documentation_only=True)
_LINK = ResponseHeader(
    name="Link", description='Next page (`rel="next"`), except on the last page.', documentation_only=True
)
_BY_ID = {"crate_id": "$response.body#/id"}
_CURRENT = _BY_ID | {"If-Match": "$response.header.ETag"}
# What can be done with the object of a response.
_LINKS = {
    "get": Link(operation_id="GetDepotCrate", parameters=_BY_ID, description="Get it."),
    "change": Link(operation_id="ChangeDepotCrate", parameters=_CURRENT, description="Change it."),
    "delete": Link(operation_id="DeleteDepotCrate", parameters=_CURRENT, description="Delete it."),
}
_NEXT_PAGE = Link(
    operation_id="ListDepotCrates",
    parameters={"cursor": "$response.body#/next_cursor"},
    description="Get the next page, unless `next_cursor` is null.",
)

CrateId = Annotated[UUID, PathParameter(description="Its `id`.", examples=[Example(value=EXAMPLE_ID)])]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1024,
        description="Its current `ETag`; required.",
        examples=[Example(value='"1"')],
        schema_extra={"pattern": EntityTags.pattern},
    ),
]
Limit = Annotated[
    int,
    QueryParameter(ge=1, le=100, description="Maximum length of the page.", examples=[Example(value=20)]),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        description="`next_cursor` of the previous page.",
        examples=[Example(value=EXAMPLE_CURSOR)],
        schema_extra={"pattern": CURSOR_PATTERN},
    ),
]


def provide_crates(
    session: NamedDependency[AsyncSession],
    outbox: NamedDependency[OutboxPlugin],
    principal: NamedDependency[Principal],
) -> Crates:
    """Return the caller's crates within the request's unit of work."""
    return Crates(session, outbox, user_id_of(principal))


class CrateController(Controller):
    """The caller's crates."""

    path = _PATH
    tags = ("crates",)
    dependencies = {"crates": Provide(provide_crates, sync_to_thread=False)}  # noqa: RUF012  (Litestar's own form)

    @post(
        operation_id="CreateDepotCrate",
        summary="Create a crate",
        guards=_WRITE,
        opt=limit_by_user("depot_creation") | response_links({201: _LINKS}),
        response_description="The new crate.",
        response_headers=[_LOCATION, _ETAG],
        responses=problem_responses(
            400,
            401,
            403,
            409,
            413,
            415,
            422,
            429,
            # template if calls accounts
            502,
            # template end
            503,
            # template if calls accounts
            504,
            # template end
        ),
    )
    async def create(
        self,
        data: JSONBody[CrateCreation],
        # template if calls accounts
        principal: NamedDependency[Principal],
        accounts_client: NamedDependency[UpstreamClient],
        # template end
        idempotency: NamedDependency[Idempotency],
        crates: NamedDependency[Crates],
    ) -> Response[CrateView]:
        """Create a crate. A repeated `Idempotency-Key` gets the first response again."""
        # template if calls accounts
        await require_active(principal, AccountsClient(accounts_client))
        # template end
        await idempotency.claim()
        crate = await crates.create(name=data.name, quantity=data.quantity)
        return _response(crate, Location=f"{_PATH}/{crate.id}")

    @get(
        operation_id="ListDepotCrates",
        summary="List crates",
        guards=_READ,
        opt=read_only()
        | limit_by_user("depot_reading")
        # Nothing on a page is a secret that a request could be compared with.
        | compression()
        | response_links({200: {"next": _NEXT_PAGE}}),
        response_description="A page of crates, newest first.",
        response_headers=[_LINK],
        responses=problem_responses(400, 401, 403, 429, 503),
    )
    async def page(
        self, crates: NamedDependency[Crates], limit: Limit = 20, cursor: Cursor = None
    ) -> Response[CratePage]:
        """Return the caller's crates, newest first. New ones do not shift the next page."""
        after = PageCursor.decode(cursor) if cursor is not None else None
        found = await crates.page(after=after, limit=limit + 1)
        views = [view(crate) for crate in found[:limit]]
        if len(found) <= limit:
            return Response(CratePage(items=views, next_cursor=None))
        next_cursor = PageCursor(views[-1].created_at, views[-1].id).encode()
        return Response(
            CratePage(items=views, next_cursor=next_cursor),
            headers={"Link": f'<{_PATH}?limit={limit}&cursor={next_cursor}>; rel="next"'},
        )

    @get(
        "/{crate_id:uuid}",
        operation_id="GetDepotCrate",
        summary="Get a crate",
        guards=_READ,
        opt=read_only() | limit_by_user("depot_reading") | response_links({200: _LINKS}),
        response_description="The crate.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 412, 429, 503),
    )
    async def one(self, crate_id: CrateId, crates: NamedDependency[Crates]) -> Response[CrateView]:
        """Return one of the caller's crates; 404 for that of another user."""
        return _response(await crates.get(crate_id))

    @patch(
        "/{crate_id:uuid}",
        operation_id="ChangeDepotCrate",
        summary="Change a crate",
        guards=_WRITE,
        opt=repeat_conflicts() | limit_by_user("depot_changes") | response_links({200: _LINKS}),
        response_description="The changed crate.",
        response_headers=[_ETAG],
        responses=problem_responses(400, 401, 403, 404, 412, 413, 415, 428, 429, 503),
    )
    async def change(
        self,
        crate_id: CrateId,
        data: JSONBody[CrateChange],
        crates: NamedDependency[Crates],
        request: Request[Any, Any, Any],
        if_match: IfMatch = None,
    ) -> Response[CrateView]:
        """Change the quantity, if `If-Match` names the current version."""
        versions = parse_if_match(if_match)
        await _check_if_none_match(request, crates, crate_id)
        return _response(await crates.change(crate_id, quantity=data.quantity, versions=versions))

    @delete(
        "/{crate_id:uuid}",
        operation_id="DeleteDepotCrate",
        summary="Delete a crate",
        guards=_WRITE,
        opt=repeat_conflicts() | limit_by_user("depot_changes"),
        response_description="It is deleted.",
        responses=problem_responses(400, 401, 403, 404, 412, 428, 429, 503),
    )
    async def remove(
        self,
        crate_id: CrateId,
        crates: NamedDependency[Crates],
        request: Request[Any, Any, Any],
        if_match: IfMatch = None,
    ) -> None:
        """Delete a crate, if `If-Match` names its current version."""
        versions = parse_if_match(if_match)
        await _check_if_none_match(request, crates, crate_id)
        await crates.delete(crate_id, versions=versions)


async def _check_if_none_match(request: Request[Any, Any, Any], crates: Crates, crate_id: UUID) -> None:
    if "If-None-Match" in request.headers:
        check_preconditions(request, etag((await crates.get(crate_id)).version))


def _response(crate: Crate, **headers: str) -> Response[CrateView]:
    # A proxy that compressed the response would change the tag, or remove it.
    caching = {"Cache-Control": "no-store, no-transform", "ETag": etag(crate.version)}
    return Response(view(crate), headers=caching | headers)
