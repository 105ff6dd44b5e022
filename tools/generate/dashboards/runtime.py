"""Dashboard of the processes: workers, event loops, resources, and lost telemetry."""

from .dashboard import Dashboard
from .panels import Panel
from .queries import Query, distribution, gauge, increase, percentile, rate, selected

_BY_REASON = "service, instance, reason"
_PROCESS = "{{service}} {{instance}} {{process}}"
_GENERATION = "{{service}} generation {{generation}}"
_LAG = "starkeel_event_loop_lag_seconds_bucket"

_WORKERS = [
    Panel(
        "Workers",
        "Running workers: WORKERS, or fewer for a moment after a crash.",
        [gauge('process_start_time_seconds{process=~"worker-.*"}', "service, instance", function="count")],
    ),
    Panel(
        "Uptime",
        "Time since the main process and each worker were started.",
        [Query(f"time() - {selected('process_start_time_seconds')}", _PROCESS)],
        unit="s",
    ),
    Panel(
        "Worker exits and replacements",
        "Unexpected exits of workers and planned replacements in the last 15 minutes, by reason.",
        [
            increase(
                "starkeel_worker_exits_total", _BY_REASON, "{{service}} {{instance}} exited: {{reason}}"
            ),
            increase(
                "starkeel_worker_replacements_total",
                _BY_REASON,
                "{{service}} {{instance}} replaced: {{reason}}",
            ),
        ],
    ),
]

_LOOP = [
    Panel(
        "Lag, p99",
        "Delay between the time a timer is due and the time it runs, 99th percentile.",
        [percentile(0.99, _LAG, "service, instance")],
        unit="s",
        limits=(0.1, 0.5),
    ),
    Panel(
        "Lag distribution",
        "Every measurement. A second band far above the first: occasional blocking calls.",
        [distribution(_LAG)],
        kind="heat",
        unit="s",
    ),
    Panel(
        "Blocked",
        "Number of times an event loop was blocked for LOOP_STALL_SECONDS. The log has the stack trace.",
        [increase("starkeel_loop_stalls_total", "service, instance")],
        limits=(1, 1),
    ),
]

_RESOURCES = [
    Panel(
        "CPU",
        "CPU cores in use. A worker with 1 is saturated.",
        [rate("process_cpu_seconds_total", "service, instance, process")],
        limits=(0.8, 1.0),
    ),
    Panel(
        "Memory",
        "Resident memory. A steady increase is a leak.",
        [Query(selected("process_resident_memory_bytes"), _PROCESS)],
        unit="bytes",
    ),
    Panel(
        "File descriptors",
        "Open file descriptors, sockets included, as a share of the limit.",
        [Query(f"{selected('process_open_fds')} / {selected('process_max_fds')}", _PROCESS)],
        unit="percentunit",
        limits=(0.6, 0.8),
    ),
    Panel(
        "Garbage collections",
        "Collections by generation. Generation 2 examines all objects while nothing else runs.",
        [rate("python_gc_collections_total", "service, generation", _GENERATION)],
        unit="ops",
    ),
    Panel(
        "Garbage",
        "Collected objects: they were only referenced by each other.",
        [rate("python_gc_objects_collected_total", "service, generation", _GENERATION)],
        unit="ops",
    ),
    Panel(
        "Threads",
        "Threads, which run blocking calls. A steady increase: calls that never return.",
        [Query(selected("process_threads"), _PROCESS)],
    ),
]

_TELEMETRY = [
    Panel(
        "Exported spans",
        "Spans that the collector accepted.",
        [rate("starkeel_spans_exported_total", "service, instance")],
        unit="ops",
    ),
    Panel(
        "Dropped spans",
        "By reason: a full queue, or a collector that is unavailable or refuses a batch or part of it.",
        [rate("starkeel_spans_dropped_total", "service, reason")],
        unit="ops",
    ),
    Panel(
        "Dropped log lines",
        "By level. `dropped`: the output is read too slowly; `sampled out`: repeated too often.",
        [
            rate("log_records_dropped_total", "service, level", "{{service}} {{level}} dropped"),
            rate("log_records_sampled_out_total", "service, level", "{{service}} {{level}} sampled out"),
        ],
        unit="ops",
    ),
]

RUNTIME = Dashboard(
    "starkeel-runtime",
    "Starkeel: runtime",
    "Worker exits, event loop lag, resources, and lost telemetry.",
    {"Workers": _WORKERS, "Event loop": _LOOP, "Resources": _RESOURCES, "Telemetry": _TELEMETRY},
)
