"""Errors of reading an image."""

from .._errors import UsageError


class ImageError(UsageError):
    """An image cannot be read: it is missing, damaged, or larger than the limits of the reader."""
