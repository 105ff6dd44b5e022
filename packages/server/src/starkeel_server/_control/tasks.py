"""Tasks of a worker's event loop and the lines they wait at, without any values."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from traceback import walk_stack
from types import CodeType, FrameType
from typing import Any, Final

_MAX_TASKS: Final = 200
_MAX_FRAMES: Final = 12


def tasks_of(loop: asyncio.AbstractEventLoop, thread: int) -> dict[str, Any]:
    """Return the number of tasks, the first 200 by name, and the current stack of the loop's thread.

    May be called from any thread.

    Args:
        loop: The event loop.
        thread: Identifier of the thread it runs in.
    """
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    running = sys._current_frames().get(thread)  # noqa: SLF001 - documented by CPython
    return {
        "count": len(tasks),
        "loop_stands_at": _stack(running),
        "tasks": [_describe(task) for task in tasks[:_MAX_TASKS]],
    }


def _describe(task: "asyncio.Task[Any]") -> dict[str, Any]:
    coroutine = task.get_coro()
    return {
        "name": task.get_name(),
        "coroutine": getattr(coroutine, "__qualname__", type(coroutine).__name__),
        "stands_at": list(_awaited(coroutine))[:_MAX_FRAMES],
    }


def _awaited(coroutine: Any) -> Iterator[str]:
    """Yield the current line of a coroutine and of each coroutine it awaits, innermost last."""
    while prefix := next((p for p in ("cr", "gi", "ag") if hasattr(coroutine, f"{p}_frame")), None):
        frame: FrameType | None = getattr(coroutine, f"{prefix}_frame")
        if frame is not None:
            yield _location(frame.f_code, frame.f_lineno)
        coroutine = getattr(coroutine, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")


def _stack(frame: FrameType | None) -> list[str]:
    """Return the innermost lines of a stack, innermost last."""
    callers = () if frame is None else islice(walk_stack(frame), _MAX_FRAMES)
    return [_location(caller.f_code, line) for caller, line in callers][::-1]


def _location(code: CodeType, line: int) -> str:
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} {code.co_name}"
