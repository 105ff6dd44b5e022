"""Secrets of a failing handler are in no log line, span or admin page."""

from typing import Any

import httpx2


def test_secrets_in_exceptions_are_masked(samples: Any, collector: Any) -> None:
    secret = "Zq5ecret5ecret"
    sample = samples.ready(ENVIRONMENT="development", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)

    assert sample.get(f"/leaks?password={secret}").status_code == 500

    failed = sample.wait_for_log("request failed")
    assert "no login by" in failed["exception"]["message"]
    assert "KeyError" in failed["exception"]["stack"]
    assert failed["exception"]["frames"][-1]["function"] == "leaks"
    assert sample.wait_for_log("about to fail")["settings"]["password"] == "***"
    collector.wait_for(name="GET /leaks")
    collector.wait_for(name="charge")
    pages = [
        httpx2.get(f"{sample.admin}/{page}", timeout=30).text
        for page in ("traces", "tasks", "config", "info", "loggers", "routes", "metrics")
    ]
    assert "charge" in pages[0]
    assert secret not in sample.output
    assert secret not in repr(collector.spans)
    assert secret not in "".join(pages)
