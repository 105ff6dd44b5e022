"""Log records in the order of their arrival, the oldest removed first."""

from collections import deque
from collections.abc import Iterator

from .records import LogRecord


class LogStore:
    """Log records.

    Args:
        max_bytes: Bytes that they may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._records: deque[LogRecord] = deque()
        self._size_bytes = 0
        self.received = 0
        """Records since the start; the number of the newest."""

    def add(self, record: LogRecord) -> None:
        """Keep a record, and remove the oldest ones if there is no room."""
        self.received += 1
        record.number = self.received
        self._records.append(record)
        self._size_bytes += record.size_bytes
        while self._size_bytes > self._max_bytes and len(self._records) > 1:
            self._size_bytes -= self._records.popleft().size_bytes

    def newest_first(self, *, after: int = 0) -> Iterator[LogRecord]:
        """Yield the records, the newest first.

        Args:
            after: Number of a record; only later ones are yielded.
        """
        for record in reversed(self._records):
            if record.number <= after:
                return
            yield record

    def get(self, number: int) -> LogRecord | None:
        """Return the record with a number; `None` if it is not kept."""
        if not self._records:
            return None
        place = number - self._records[0].number
        return self._records[place] if 0 <= place < len(self._records) else None

    @property
    def count(self) -> int:
        """Return the number of records that are kept."""
        return len(self._records)
