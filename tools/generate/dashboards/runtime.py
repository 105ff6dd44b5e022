"""Dashboard of the processes: workers, event loops, resources, and lost telemetry."""

from .parts import SELECTED, Dashboard, Panel, Query, Row

_EACH = "{{service}} {{instance}}"
_PROCESS = "{{service}} {{instance}} {{process}}"

_WORKERS = Row(
    "Workers",
    [
        Panel(
            "Workers",
            "Running workers: WORKERS, or fewer for a moment after a crash.",
            [
                Query(
                    "count by (service, instance) "
                    f'(process_start_time_seconds{{process=~"worker-.*", {SELECTED}}})',
                    _EACH,
                )
            ],
        ),
        Panel(
            "Uptime",
            "Time since the main process and each worker were started.",
            [Query(f"time() - process_start_time_seconds{{{SELECTED}}}", _PROCESS)],
            unit="s",
        ),
        Panel(
            "Worker exits and replacements",
            "Unexpected exits of workers and planned replacements in the last 15 minutes, by reason.",
            [
                Query(
                    "sum by (service, instance, reason) "
                    f"(increase(starkeel_worker_exits_total{{{SELECTED}}}[15m]))",
                    "{{service}} {{instance}} exited: {{reason}}",
                ),
                Query(
                    "sum by (service, instance, reason) "
                    f"(increase(starkeel_worker_replacements_total{{{SELECTED}}}[15m]))",
                    "{{service}} {{instance}} replaced: {{reason}}",
                ),
            ],
        ),
    ],
)

_LOOP = Row(
    "Event loop",
    [
        Panel(
            "Lag, p99",
            "Delay between the time a timer is due and the time it runs, 99th percentile.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (service, instance, le) "
                    f"(rate(starkeel_event_loop_lag_seconds_bucket{{{SELECTED}}}[$__rate_interval])))",
                    _EACH,
                )
            ],
            unit="s",
            limits=(0.1, 0.5),
        ),
        Panel(
            "Lag distribution",
            "Every measurement. A second band far above the first: occasional blocking calls.",
            [
                Query(
                    "sum by (le) "
                    f"(increase(starkeel_event_loop_lag_seconds_bucket{{{SELECTED}}}[$__rate_interval]))",
                    "{{le}}",
                )
            ],
            kind="heat",
            unit="s",
        ),
        Panel(
            "Blocked",
            "Number of times an event loop was blocked for LOOP_STALL_SECONDS. The log has the stack trace.",
            [
                Query(
                    f"sum by (service, instance) (increase(starkeel_loop_stalls_total{{{SELECTED}}}[15m]))",
                    _EACH,
                )
            ],
            limits=(1, 1),
        ),
    ],
)

_RESOURCES = Row(
    "Resources",
    [
        Panel(
            "CPU",
            "CPU cores in use. A worker with 1 is saturated.",
            [
                Query(
                    "sum by (service, instance, process) "
                    f"(rate(process_cpu_seconds_total{{{SELECTED}}}[$__rate_interval]))",
                    _PROCESS,
                )
            ],
            limits=(0.8, 1.0),
        ),
        Panel(
            "Memory",
            "Resident memory. A steady increase is a leak.",
            [Query(f"process_resident_memory_bytes{{{SELECTED}}}", _PROCESS)],
            unit="bytes",
        ),
        Panel(
            "File descriptors",
            "Open file descriptors, sockets included, as a share of the limit.",
            [Query(f"process_open_fds{{{SELECTED}}} / process_max_fds{{{SELECTED}}}", _PROCESS)],
            unit="percentunit",
            limits=(0.6, 0.8),
        ),
        Panel(
            "Garbage collections",
            "Collections by generation. Generation 2 examines all objects while nothing else runs.",
            [
                Query(
                    "sum by (service, generation) "
                    f"(rate(python_gc_collections_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} generation {{generation}}",
                )
            ],
            unit="ops",
        ),
        Panel(
            "Garbage",
            "Collected objects: they were only referenced by each other.",
            [
                Query(
                    "sum by (service, generation) "
                    f"(rate(python_gc_objects_collected_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} generation {{generation}}",
                )
            ],
            unit="ops",
        ),
        Panel(
            "Threads",
            "Threads, which run blocking calls. A steady increase: calls that never return.",
            [Query(f"process_threads{{{SELECTED}}}", _PROCESS)],
        ),
    ],
)

_TELEMETRY = Row(
    "Telemetry",
    [
        Panel(
            "Exported spans",
            "Spans that the collector accepted.",
            [
                Query(
                    "sum by (service, instance) "
                    f"(rate(starkeel_spans_exported_total{{{SELECTED}}}[$__rate_interval]))",
                    _EACH,
                )
            ],
            unit="ops",
        ),
        Panel(
            "Dropped spans",
            "By reason: a full queue, or a collector that is unavailable or refuses a batch or part of it.",
            [
                Query(
                    "sum by (service, reason) "
                    f"(rate(starkeel_spans_dropped_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{reason}}",
                )
            ],
            unit="ops",
        ),
        Panel(
            "Dropped log lines",
            "By level. `dropped`: the output is read too slowly; `sampled out`: repeated too often.",
            [
                Query(
                    "sum by (service, level) "
                    f"(rate(log_records_dropped_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{level}} dropped",
                ),
                Query(
                    "sum by (service, level) "
                    f"(rate(log_records_sampled_out_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{level}} sampled out",
                ),
            ],
            unit="ops",
        ),
    ],
)

RUNTIME = Dashboard(
    "starkeel-runtime",
    "Starkeel: runtime",
    "Worker exits, event loop lag, resources, and lost telemetry.",
    "several",
    [_WORKERS, _LOOP, _RESOURCES, _TELEMETRY],
)
