"""Log writer: a background thread writes lines to stdout, so that log calls do not wait for the reader."""

import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from .._config.log_levels import SEVERITIES, severity_of
from .fd_writer import PIECE_BYTES, FdWriter

_GATHER_S: Final = 0.005
"""Seconds that a line waits for others, to be written together."""
_GIVE_UP_S: Final = 0.25
"""Seconds after which `flush` stops waiting for a stalled reader."""
_WARN: Final = 30

_MAX_BYTES: Final = 4 * 1024 * 1024
"""Memory limit for the queue of one process."""
_OVERHEAD: Final = 160
"""Memory that an entry takes in addition to its lines."""

_Entry = tuple[int, bytes, int]
"""Sequence number, lines that stay together, number of lines."""
Counts = Mapping[str, int]


class LineQueue:
    """Accepts lines from any thread and returns them in order; when full, drops the least severe first."""

    def __init__(self) -> None:
        self._entries: tuple[deque[_Entry], ...] = tuple(deque() for _ in SEVERITIES)
        self._bytes = 0
        self._number = 0
        self._dropped = [0] * len(SEVERITIES)
        # Reentrant: garbage collection within `put` may run finalizers that log.
        self.lock = threading.RLock()

    def put(self, level: int, lines: bytes, count: int = 1) -> None:
        """Add `count` lines, which stay together; a full queue drops less severe ones, or these."""
        rank = severity_of(level)
        size = len(lines) + _OVERHEAD
        with self.lock:
            if self._bytes + size > _MAX_BYTES and not self._make_room(size, rank):
                self._dropped[rank] += count
                return
            self._number += 1
            self._entries[rank].append((self._number, lines, count))
            self._bytes += size

    def take(self, max_bytes: int) -> list[tuple[int, bytes, int]]:
        """Remove and return entries of up to `max_bytes`, at least one: rank, lines, number of lines."""
        taken: list[tuple[int, bytes, int]] = []
        left = max_bytes
        with self.lock:
            while not self.is_empty:
                _, rank = min((its[0][0], rank) for rank, its in enumerate(self._entries) if its)
                entries = self._entries[rank]
                # Usually all entries have one level, and need no merging.
                is_only = sum(map(bool, self._entries)) == 1
                while entries:
                    _, lines, count = entries[0]
                    if taken and len(lines) > left:
                        return taken
                    entries.popleft()
                    self._bytes -= len(lines) + _OVERHEAD
                    left -= len(lines)
                    taken.append((rank, lines, count))
                    if not is_only:
                        break
        return taken

    def count_lost(self, taken: list[tuple[int, bytes, int]]) -> None:
        """Count taken entries that could not be written as dropped."""
        with self.lock:
            for rank, _, count in taken:
                self._dropped[rank] += count

    def dropped(self) -> Counter[str]:
        return Counter(dict(zip(SEVERITIES, self._dropped, strict=True)))

    @property
    def is_empty(self) -> bool:
        return not any(self._entries)

    def _make_room(self, size: int, rank: int) -> bool:
        """Drop less severe lines, the newest first: the older ones show what led to the problem."""
        for lower, entries in enumerate(self._entries[:rank]):
            while entries:
                _, lines, count = entries.pop()
                self._bytes -= len(lines) + _OVERHEAD
                self._dropped[lower] += count
                if self._bytes + size <= _MAX_BYTES:
                    return True
        return False


class LineWriter:
    """Queues lines and writes them in the background.

    Lines that cannot be written, as the reader is stalled or gone, are dropped and counted. Without a
    descriptor, as in a process that was started without stdout, all are.
    """

    _is_asleep: bool
    _wake: threading.Semaphore

    def __init__(self, descriptor: int | None) -> None:
        self._number = descriptor
        self._queue = LineQueue()
        self._fd_writer = None if descriptor is None else FdWriter(descriptor, self._publish_dropped)
        self._published = self._queue.dropped()
        self._reported = self._published
        self._is_closed = False
        self.on_drop: Callable[[Counts], object] = dict
        """Called in the background thread with the number of newly dropped lines by level."""
        self.render_dropped: Callable[[Counts], bytes] | None = None
        """Renders the line that reports dropped lines."""
        self._start()
        writer = weakref.ref(self)

        def after_fork() -> None:
            if (found := writer()) is not None:
                found.restart_after_fork()

        os.register_at_fork(after_in_child=after_fork)

    @property
    def is_terminal(self) -> bool:
        return self._number is not None and os.isatty(self._number)

    def write(self, level: int, lines: bytes, count: int = 1) -> None:
        """Write `count` lines soon; never waits for the reader."""
        if self._fd_writer is None:
            return
        with self._queue.lock:
            if len(lines) >= PIECE_BYTES and self._is_asleep:
                # A large batch is written directly if that does not block, which saves a thread switch.
                left = self._fd_writer.write_at_once(lines)
                lines = lines if left is None else left
                if not lines:
                    return
            self._queue.put(level, lines, count)
            if self._is_asleep:
                self._is_asleep = False
                self._wake.release()
        if self._is_closed:
            self.flush(timeout_s=_GIVE_UP_S)

    def flush(self, *, timeout_s: float) -> bool:
        """Wait until all lines are written or the reader is stalled; return whether they are written."""
        until = time.monotonic() + timeout_s
        self._hurry.set()
        try:
            while not self._is_asleep:
                is_running = self._thread is not None and self._thread.is_alive()
                if time.monotonic() >= until or self._is_stalled() or not is_running:
                    return False
                self._idle.wait(0.01)
        finally:
            self._hurry.clear()
        return True

    def close(self, *, timeout_s: float) -> None:
        """Flush, now and after each later line: the process may end at any moment."""
        self._is_closed = True
        self.flush(timeout_s=timeout_s)

    def _start(self) -> None:
        self._is_asleep = True
        self._wake = threading.Semaphore(0)
        self._hurry = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        if self._fd_writer is not None:
            self._thread = threading.Thread(
                target=self._run, args=(self._fd_writer,), name="log-writer", daemon=True
            )
            self._thread.start()

    def restart_after_fork(self) -> None:
        # Queued lines are written by the parent.
        self._queue = LineQueue()
        self._published = self._reported = self._queue.dropped()
        self._start()

    def _is_stalled(self) -> bool:
        since = None if self._fd_writer is None else self._fd_writer.blocked_since
        return since is not None and time.monotonic() - since > _GIVE_UP_S

    def _run(self, fd_writer: FdWriter) -> None:
        while True:
            self._wake.acquire()
            self._idle.clear()
            self._hurry.wait(_GATHER_S)
            # The thread must survive any error, or no later line would be written.
            with suppress(Exception):
                self._write_all(fd_writer)
            self._idle.set()

    def _write_all(self, fd_writer: FdWriter) -> None:
        while True:
            taken = self._queue.take(PIECE_BYTES)
            if not taken:
                self._publish_dropped()
                self._report_dropped()
                with self._queue.lock:
                    if self._queue.is_empty:
                        self._is_asleep = True
                        return
                continue
            try:
                fd_writer.write(b"".join([lines for _, lines, _ in taken]))
            except OSError:
                self._queue.count_lost(taken)
                # Without a reader, a report would be lost as well.
                self._reported = self._queue.dropped()

    def _publish_dropped(self) -> None:
        dropped = self._queue.dropped()
        if dropped != self._published:
            self.on_drop(dropped - self._published)
            self._published = dropped

    def _report_dropped(self) -> None:
        dropped = self._queue.dropped()
        if dropped != self._reported and self.render_dropped is not None:
            self._queue.put(_WARN, self.render_dropped(dropped - self._reported))
            self._reported = dropped
