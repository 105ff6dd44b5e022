"""Endpoint that checks a crate and stores nothing."""

import structlog
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from starkeel_auth import Principal, requires_scope
from starkeel_client import UpstreamClient
from starkeel_http import limit_by_user, problem_responses
from starkeel_observability import counter

from .accounts_client import AccountsClient
from .schemas import CrateCreation, CratePreview
from .users import require_active, user_id_of

log = structlog.get_logger(__name__)

_PREVIEWS = counter("depot_crate_previews_total", "Previews of crates.")


@post(
    "/api/depot/crates/preview",
    operation_id="PreviewDepotCrate",
    summary="Preview a crate",
    tags=["crates"],
    status_code=200,
    guards=[requires_scope("depot:read")],
    opt=limit_by_user("depot_reading"),
    response_description="The crate as it would be stored.",
    responses=problem_responses(
        400,
        401,
        403,
        413,
        415,
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
async def preview(
    data: JSONBody[CrateCreation],
    principal: NamedDependency[Principal],
    # template if calls accounts
    accounts_client: NamedDependency[UpstreamClient],
    # template end
) -> CratePreview:
    """Check a crate without storing it."""
    user_id = user_id_of(principal)
    # template if calls accounts
    await require_active(principal, AccountsClient(accounts_client))
    # template end
    _PREVIEWS.inc()
    log.info("crate previewed", user_id=str(user_id), quantity=data.quantity)
    return CratePreview(name=data.name, quantity=data.quantity, is_empty=data.quantity == 0)
