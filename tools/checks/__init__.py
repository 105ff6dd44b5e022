"""Checks of `just check` for which no linter exists."""
