"""Providers of OpenTelemetry that the application has installed itself, for traces, metrics or logs."""

import sys
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

_GETTERS: Final = {
    "opentelemetry.trace": "get_tracer_provider",
    "opentelemetry.metrics": "get_meter_provider",
    "opentelemetry._logs": "get_logger_provider",
}


def shut_down_foreign_providers(*, timeout_s: float) -> None:
    """Export what the application's own providers hold, and shut them down, within `timeout_s` seconds.

    The SDK does so in callbacks of `atexit`, unless `shutdown_on_exit` is false, and without a deadline.
    """
    until = time.monotonic() + timeout_s
    threads = {
        type(provider).__name__: Thread(target=_shut_down, args=(provider, timeout_s), daemon=True)
        for provider in _foreign_providers()
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            log.warning("telemetry of the application not sent in time", provider=name, timeout_s=timeout_s)


def _foreign_providers() -> Iterator[Any]:
    for name, getter in _GETTERS.items():
        # A module that is not imported has no provider.
        module = sys.modules.get(name)
        if module is not None:
            provider = getattr(module, getter)()
            # The API's own ones and this package's have nothing to flush.
            if callable(getattr(provider, "force_flush", None)):
                yield provider


def _shut_down(provider: Any, timeout_s: float) -> None:
    try:
        provider.force_flush(max(1, int(timeout_s * 1000)))
        provider.shutdown()
    except Exception as error:  # noqa: BLE001 - the process ends
        log.warning("telemetry of the application not sent", error=repr(error))
