"""The processes: workers, event loops, memory, and what telemetry had to let go of."""

from .parts import SELECTED, Board, Query, Row, View

_EACH = "{{service}} {{instance}}"
_PROCESS = "{{service}} {{instance}} {{process}}"

_WORKERS = Row(
    "Workers",
    [
        View(
            "Workers",
            "Workers that are up; fewer than WORKERS for a moment while one is replaced.",
            [
                Query(
                    "count by (service, instance) "
                    f'(process_start_time_seconds{{process=~"worker-.*", {SELECTED}}})',
                    _EACH,
                )
            ],
        ),
        View(
            "Up for",
            "How long main processes and workers have been running.",
            [Query(f"time() - process_start_time_seconds{{{SELECTED}}}", _PROCESS)],
            unit="s",
        ),
        View(
            "Died, and replaced",
            "Workers that ended without being asked to, by reason, and those that gave way to a new one.",
            [
                Query(
                    "sum by (service, instance, reason) "
                    f"(increase(starkeel_worker_exits_total{{{SELECTED}}}[15m]))",
                    "{{service}} {{instance}} died: {{reason}}",
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
        View(
            "Late",
            "How late loops come to what is due, 99 of 100 looks.",
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
        View(
            "How late how often",
            "All looks. A second band far above is something that blocks now and then.",
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
        View(
            "Blocked",
            "Times a loop was blocked for LOOP_STALL_SECONDS; the log tells by what.",
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
        View(
            "Processor",
            "Processors in use; a worker at 1 cannot do more.",
            [
                Query(
                    "sum by (service, instance, process) "
                    f"(rate(process_cpu_seconds_total{{{SELECTED}}}[$__rate_interval]))",
                    _PROCESS,
                )
            ],
            limits=(0.8, 1.0),
        ),
        View(
            "Memory",
            "Resident memory. What only ever rises is a leak.",
            [Query(f"process_resident_memory_bytes{{{SELECTED}}}", _PROCESS)],
            unit="bytes",
        ),
        View(
            "Files",
            "Share of the files that may be open; sockets are files.",
            [Query(f"process_open_fds{{{SELECTED}}} / process_max_fds{{{SELECTED}}}", _PROCESS)],
            unit="percentunit",
            limits=(0.6, 0.8),
        ),
        View(
            "Garbage collections",
            "By generation; those of generation 2 look at everything, and everything waits for them.",
            [
                Query(
                    "sum by (service, generation) "
                    f"(rate(python_gc_collections_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} generation {{generation}}",
                )
            ],
            unit="ops",
        ),
        View(
            "Garbage",
            "Objects that were only kept by one another.",
            [
                Query(
                    "sum by (service, generation) "
                    f"(rate(python_gc_objects_collected_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} generation {{generation}}",
                )
            ],
            unit="ops",
        ),
        View(
            "Threads",
            "Blocking work is done in threads; what only ever rises is stuck.",
            [Query(f"process_threads{{{SELECTED}}}", _PROCESS)],
        ),
    ],
)

_TELEMETRY = Row(
    "Telemetry",
    [
        View(
            "Spans sent",
            "Spans that a collector took.",
            [
                Query(
                    "sum by (service, instance) "
                    f"(rate(starkeel_spans_exported_total{{{SELECTED}}}[$__rate_interval]))",
                    _EACH,
                )
            ],
            unit="ops",
        ),
        View(
            "Spans lost",
            "By reason: the queue was full, or the collector away, unwilling, or content with a part.",
            [
                Query(
                    "sum by (service, reason) "
                    f"(rate(starkeel_spans_dropped_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{reason}}",
                )
            ],
            unit="ops",
        ),
        View(
            "Log lines lost",
            "By level: `lost`, nobody read the output fast enough; `left out`, they repeated others.",
            [
                Query(
                    "sum by (service, level) "
                    f"(rate(log_records_dropped_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{level}} lost",
                ),
                Query(
                    "sum by (service, level) "
                    f"(rate(log_records_sampled_out_total{{{SELECTED}}}[$__rate_interval]))",
                    "{{service}} {{level}} left out",
                ),
            ],
            unit="ops",
        ),
    ],
)

RUNTIME = Board(
    "starkeel-runtime",
    "Starkeel: runtime",
    "How the processes are: whether workers die, loops are late, memory grows, or telemetry is lost.",
    "several",
    [_WORKERS, _LOOP, _RESOURCES, _TELEMETRY],
)
