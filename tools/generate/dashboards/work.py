"""Dashboard of work that is not a request: jobs, schedules, consumers and the processes that do it."""

from .dashboard import Dashboard
from .panels import Panel
from .queries import Query, gauge, increase, percentile, rate, selected

_JOB = "service, exported_job"
"""Labels of a job: Prometheus renames the label `job` of a metric, which is that of the target."""
_SHOWN = "{{service}} {{exported_job}}"

_JOBS = [
    Panel(
        "Waiting jobs",
        "Jobs that are due and wait for a process. Every worker counts the same rows.",
        [gauge("jobs_due", "service", function="max")],
    ),
    Panel(
        "Age of the oldest due job",
        "Time for which the oldest due job has waited. A steady increase: too few workers.",
        [gauge("jobs_oldest_due_seconds", "service", function="max")],
        unit="s",
        limits=(60, 300),
    ),
    Panel(
        "Failed jobs",
        "Jobs and received events that failed in their last attempt; an operator retries or discards them.",
        [gauge("jobs_failed", "service", function="max")],
        limits=(1, 1),
    ),
    Panel(
        "Results",
        "Attempts by job and result. `given back`: at a stop, or while the database is away.",
        [rate("jobs_total", f"{_JOB}, result", f"{_SHOWN} {{{{result}}}}")],
        kind="stack",
        unit="ops",
    ),
    Panel(
        "Duration of jobs, p99",
        "Duration of an attempt, its unit of work included.",
        [percentile(0.99, "job_duration_seconds_bucket", _JOB, _SHOWN)],
        unit="s",
    ),
    Panel(
        "Executing jobs",
        "Jobs that execute in all workers, and those that are to be executed at a later time.",
        [
            gauge("jobs_running", "service", "{{service}} executing", function="max"),
            gauge("jobs_later", "service", "{{service}} later", function="max"),
        ],
    ),
]

_CONSUMERS = [
    Panel(
        "Events that wait",
        "Events of a topic that the service has not received.",
        [gauge("consumer_lag", "service, topic", function="max")],
        width=6,
    ),
    Panel(
        "Age of the oldest event that waits",
        "Time since the oldest event was published that the service has not received.",
        [gauge("consumer_oldest_seconds", "service, topic", function="max")],
        unit="s",
        limits=(30, 60),
        width=6,
    ),
    Panel(
        "Received events",
        "Events that were received and stored as jobs; their handlers are in the panels of jobs.",
        [rate("consumer_received_total", "service, topic")],
        unit="ops",
        width=6,
    ),
    Panel(
        "Failures to receive",
        "Failed attempts to receive, by reason. The position is kept, and no event is skipped.",
        [rate("consumer_failures_total", "service, topic, reason")],
        unit="ops",
        width=6,
    ),
]

_PROCESSES = [
    Panel(
        "Workers that are up",
        "Worker instances that Prometheus can scrape. 0: no job is executed and no event is received.",
        [Query('sum by (service) (up{role="worker", service=~"$service"})', "{{service}}")],
    ),
    Panel(
        "Processes by status",
        "Processes of the workers. `not_ready`: the database or another dependency is not available.",
        [gauge('starkeel_workers{role="worker"}', "service, status")],
        kind="stack",
    ),
    Panel(
        "Missed runs",
        "Scheduled runs that were left out in the last hour, because no process was running in time.",
        [increase("job_schedules_missed_total", _JOB, _SHOWN, interval="1h")],
        limits=(1, 1),
    ),
    Panel(
        "CPU of workers",
        "CPU cores in use. A process with 1 is saturated.",
        [rate('process_cpu_seconds_total{role="worker"}', "service, instance, process")],
        limits=(0.8, 1.0),
        width=12,
    ),
    Panel(
        "Memory of workers",
        "Resident memory. A steady increase is a leak.",
        [
            Query(
                selected('process_resident_memory_bytes{role="worker"}'),
                "{{service}} {{instance}} {{process}}",
            )
        ],
        unit="bytes",
        width=12,
    ),
]

WORK = Dashboard(
    "starkeel-work",
    "Starkeel: work",
    "Jobs, schedules, received events, and the worker processes.",
    {"Jobs": _JOBS, "Consumers": _CONSUMERS, "Worker processes": _PROCESSES},
)
