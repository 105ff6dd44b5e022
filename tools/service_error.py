"""Reports of services whose code fails while it is imported or its application is created."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import unwrap
from pathlib import Path

from litestar.handlers import BaseRouteHandler

from .registry import ROOT

_PLACES = ("services", "packages")
"""Folders with code of this workspace, those whose frames are preferred first."""


class ServiceError(Exception):
    """The code of a service fails; the message has its own frames of the traceback, then one sentence."""


@contextmanager
def described(service: str, root: Path = ROOT) -> Iterator[None]:
    """Raise what the code of a service raises as an error that names the service and the file.

    Args:
        service: Name of the service.
        root: The workspace.

    Raises:
        ServiceError: The block raised an exception.
    """
    try:
        yield
    except Exception as error:
        raise ServiceError(_report(service, error, root)) from error


def _report(service: str, error: BaseException, root: Path) -> str:
    chain = list(_chain(error))
    frames = next((own for each in chain if (own := _own_frames(each, root))), [])
    place = next((found for each in chain if (found := _place(each, root))), None)
    if place is None and frames:
        place = f"{frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}"
    where = f" ({place})" if place else ""
    sentence = " caused by ".join(_summary(each) for each in reversed(chain))
    shown = "".join(traceback.StackSummary.from_list(frames).format())
    return f"{shown}services/{service} cannot be described{where}: {sentence}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that caused one another, the first cause first."""
    hidden = error.__suppress_context__
    if (cause := error.__cause__ or (None if hidden else error.__context__)) is not None:
        yield from _chain(cause)
    yield error


def _own_frames(error: BaseException, root: Path) -> list[traceback.FrameSummary]:
    """Return the frames in the code of services; of a failure without any, those in the packages."""
    summary = traceback.extract_tb(error.__traceback__)
    for folder in _PLACES:
        found = [
            traceback.FrameSummary(_relative(frame.filename, root), frame.lineno, frame.name, line=frame.line)
            for frame in summary
            if Path(frame.filename).is_relative_to(root / folder)
        ]
        if found:
            return found
    return []


def _place(error: BaseException, root: Path) -> str | None:
    """Return the place that no frame has: of invalid syntax, or of a handler that Litestar refuses."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename, root)}:{error.lineno}"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        handler = frame.f_locals.get("self")
        if not isinstance(handler, BaseRouteHandler) or not hasattr(handler, "fn"):
            continue
        if (code := getattr(unwrap(handler.fn), "__code__", None)) is not None:
            return f"{_relative(code.co_filename, root)}:{code.co_firstlineno}, in the handler {code.co_name}"
    return None


def _summary(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    return str(path.relative_to(root)) if path.is_relative_to(root) else name
