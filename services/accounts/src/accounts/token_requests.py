"""Proofs of possession (DPoP, RFC 9449) of token requests."""

from typing import Any

from litestar import Request
from litestar.exceptions import ClientException
from starkeel_auth import ProofError, proven_key


def key_of(request: Request[Any, Any, Any]) -> str | None:
    """Return the thumbprint of the client's key that a new token is bound to, if the request has a proof.

    Raises:
        ClientException: The proof is rejected (RFC 9449, 5).
    """
    try:
        return proven_key(request)
    except ProofError as error:
        raise ClientException(f"invalid_dpop_proof: {error}.") from error
