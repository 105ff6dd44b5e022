"""Access tokens: signed claims about who signed in (RFC 9068)."""

import time
from uuid import UUID

import structlog
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import NotAuthorizedException
from starkeel_auth import SigningKeys

from .metrics import TOKENS_ISSUED

log = structlog.get_logger(__name__)
