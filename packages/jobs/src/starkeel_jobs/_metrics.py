"""Metrics of jobs.

`prometheus_client` decides at its first import whether values are shared between processes, so that it is
imported when the application starts.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, Literal, get_args

Result = Literal["succeeded", "retried", "failed", "given back", "lost"]

_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class JobMetrics:
    """Counters and gauges of a process."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.results = Counter("jobs_total", "Attempts to execute a job by result.", ["job", "result"])
        self.duration = Histogram("job_duration_seconds", "Duration of attempts.", ["job"], buckets=_BUCKETS)
        self.missed = Counter(
            "job_schedules_missed_total", "Scheduled runs left out because no process was running.", ["job"]
        )

        # All processes count the same rows.
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, multiprocess_mode="mostrecent")

        self.due = gauge("jobs_due", "Jobs that wait for a process to execute them.")
        self.later = gauge("jobs_later", "Jobs that are to be executed at a later time.")
        self.running = gauge("jobs_running", "Jobs that are being executed.")
        self.failed = gauge("jobs_failed", "Jobs whose attempts are exhausted and that are kept.")
        self.oldest_s = gauge("jobs_oldest_due_seconds", "Time for which the oldest due job has waited.")

        # Looking up a series takes longer than counting.
        self._result = cache(lambda job, result: self.results.labels(job=job, result=result))
        self._duration = cache(lambda job: self.duration.labels(job=job))

    def note(self, job: str, result: Result, seconds: float) -> None:
        """Count an attempt with its result and its duration."""
        self._result(job, result).inc()
        self._duration(job).observe(seconds)

    def expect(self, jobs: Iterable[str], schedules: Iterable[str]) -> None:
        """Create series that start at 0: `rate()` does not count the first sample as an increase."""
        for name in jobs:
            self.duration.labels(job=name)
            for result in get_args(Result):
                self.results.labels(job=name, result=result)
        for name in schedules:
            self.missed.labels(job=name)


@cache
def job_metrics() -> JobMetrics:
    """Return the metrics of this process."""
    return JobMetrics()
