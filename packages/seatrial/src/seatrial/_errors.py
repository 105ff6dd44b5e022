"""Errors of the command line."""


class UsageError(Exception):
    """Input that cannot be used; its text is the one line that is printed before exit code 2."""
