"""Bounds on parameters."""

from typing import Final

from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from msgspec import Meta

from .. import _compat

_BOUNDS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


def check_bounds(handler: HTTPRouteHandler, where: str) -> None:
    """Raise ImproperlyConfiguredException for a bound that Litestar documents and does not enforce."""
    for name, field in _compat.parameters(handler).items():
        kwarg = field.kwarg_definition
        if not isinstance(kwarg, ParameterKwarg):
            continue
        for meta in field.metadata:
            if not isinstance(meta, Meta):
                continue
            bounds = [b for b in _BOUNDS if getattr(meta, b) is not None and getattr(kwarg, b) is None]
            if bounds:
                raise ImproperlyConfiguredException(
                    f"parameter `{name}` of {where} has a bound in `msgspec.Meta`, which Litestar does not"
                    f" enforce for parameters: pass `{bounds[0]}` to `QueryParameter` (or header, cookie)"
                )
