"""Scopes that the services own, written by `just fleet` from `scopes` in services/*/pyproject.toml."""

SCOPES: tuple[str, ...] = (
    "orders:read",
    "orders:write",
)
"""Scopes of every user, and those that a registered client may have."""
