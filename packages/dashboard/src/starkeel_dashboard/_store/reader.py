"""The trace of the dashboard's own requests to services, which is not kept."""

import secrets
from typing import Final

TRACE_ID: Final = secrets.token_bytes(16)


def traceparent() -> str:
    """Return the header field of a request; its flags request no span."""
    return f"00-{TRACE_ID.hex()}-{secrets.token_hex(8)}-00"
