"""Times that cancel the work they are over for.

A timer for each request, as `asyncio.timeout` has, is the dearest thing that an edge could do: nearly none of
them ever fires. Requests that have equally long stand in a queue instead, whose head alone has a timer.
"""

import asyncio
from typing import Any, Final, cast

_TICK_S: Final = 0.002
"""Seconds that a timer may fire early: event loops count in milliseconds."""


class Deadline:
    """When the time of the current task is over.

    Args:
        queue: Where it stands until then.
    """

    __slots__ = ("_cancelling", "_queue", "_task", "is_over")

    def __init__(self, queue: "DeadlineQueue") -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        # As `asyncio.timeout` does: whoever else cancels the task must not be taken for us.
        self._cancelling = self._task.cancelling()
        self._queue = queue
        self.is_over = False
        queue.add(self)

    def lift(self) -> None:
        """Let the work take as long as it likes from now on."""
        self._queue.remove(self)

    def is_alone(self) -> bool:
        """Whether nobody but this deadline has cancelled the task; to be asked once, when it is over."""
        return self._task.uncancel() <= self._cancelling

    def expire(self) -> None:
        """Cancel the work."""
        self.is_over = True
        self._task.cancel()


class DeadlineQueue:
    """Deadlines of one length, the first to come in front.

    Args:
        seconds: From the moment that one is added.
    """

    __slots__ = ("_is_timed", "_loop", "_seconds", "_times")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._times: dict[Deadline, float] = {}
        self._is_timed = False

    def add(self, deadline: Deadline) -> None:
        """Let a time begin."""
        self._times[deadline] = at = self._loop.time() + self._seconds
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_at(at, self._fire)

    def remove(self, deadline: Deadline) -> None:
        """Forget a time, unless it is over."""
        self._times.pop(deadline, None)

    def _fire(self) -> None:
        now = self._loop.time() + _TICK_S
        while self._times:
            deadline, at = next(iter(self._times.items()))
            if at > now:
                self._loop.call_at(at, self._fire)
                return
            del self._times[deadline]
            deadline.expire()
        self._is_timed = False


class Deadlines:
    """The queues of one event loop, by their length."""

    def __init__(self) -> None:
        self._queues: dict[float, DeadlineQueue] = {}

    def of_route(self, seconds: float) -> Deadline:
        """Begin a time that others have as well.

        Args:
            seconds: What routes have; the queue is kept.
        """
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = DeadlineQueue(seconds)
        return Deadline(queue)

    @staticmethod
    def of_request(seconds: float) -> Deadline:
        """Begin a time that no other request has."""
        return Deadline(DeadlineQueue(seconds))
