"""What runs in a worker's event loop, and where each task stands; never with what values."""

import asyncio
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

_MOST_TASKS: Final = 200
_MOST_FRAMES: Final = 12


def tasks_of(loop: asyncio.AbstractEventLoop, thread: int) -> dict[str, Any]:
    """How many tasks there are, the first 200 by name, and what the thread of the loop does just now.

    Args:
        loop: The loop; may be asked about from any thread.
        thread: Identifier of the thread it runs in.
    """
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    running = sys._current_frames().get(thread)  # noqa: SLF001 - how CPython offers it
    return {
        "count": len(tasks),
        "loop_stands_at": _stack(running),
        "tasks": [_told(task) for task in tasks[:_MOST_TASKS]],
    }


def _told(task: "asyncio.Task[Any]") -> dict[str, Any]:
    coroutine = task.get_coro()
    return {
        "name": task.get_name(),
        "coroutine": getattr(coroutine, "__qualname__", type(coroutine).__name__),
        "stands_at": list(_awaited(coroutine))[:_MOST_FRAMES],
    }


def _awaited(coroutine: Any) -> Iterator[str]:
    """Where a coroutine waits, and what it waits for, and so on to the innermost."""
    while coroutine is not None:
        prefix = next((p for p in ("cr", "gi", "ag") if hasattr(coroutine, f"{p}_frame")), None)
        if prefix is None:
            return
        frame: FrameType | None = getattr(coroutine, f"{prefix}_frame")
        if frame is not None:
            yield _place(frame.f_code, frame.f_lineno)
        coroutine = getattr(coroutine, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")


def _stack(frame: FrameType | None) -> list[str]:
    """Where a thread is, the innermost last."""
    found: list[str] = []
    while frame is not None and len(found) < _MOST_FRAMES:
        found.append(_place(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def _place(code: CodeType, line: int) -> str:
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} {code.co_name}"
