"""Private names of other libraries are checked at start, and an error names what is not supported."""

import re
import subprocess
import sys
from typing import Any

import pytest
from litestar import Litestar, get
from prometheus_client import REGISTRY
from starkeel_observability import counter
from starkeel_observability._compat import (
    UnsupportedLibraryError,
    check_litestar,
    check_metric,
)

CHANGES = {
    "opentelemetry.util._decorator._agnosticcontextmanager": (
        "import opentelemetry.trace, opentelemetry.util._decorator as module;"
        "del module._agnosticcontextmanager"
    ),
    "opentelemetry.trace.propagation._SPAN_KEY": (
        "import opentelemetry.trace as module;"
        "module.get_current_span = lambda context=None: module.INVALID_SPAN"
    ),
    "structlog.contextvars.bind_contextvars": (
        "import structlog.contextvars as module; module.bind_contextvars = lambda **given: given"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_name_is_an_error_at_import(name: str) -> None:
    program = f"{CHANGES[name]}; import starkeel_observability._compat"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    error = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert f"`{name}` is missing or has changed. Install another version of " in error
    assert re.search(r"does not support (opentelemetry-api|structlog) \d[\d.]+: ", error)


def test_a_changed_name_ends_the_start(samples: Any) -> None:
    settings = samples.directory / "sample" / "settings.py"
    settings.write_text(f"{CHANGES['structlog.contextvars.bind_contextvars']}\n{settings.read_text()}")

    sample = samples.start()

    assert sample.wait() != 0
    assert "starkeel-observability does not support structlog" in sample.output


class Changed:
    """Stands for a metric of another version."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "_labelnames"),
        ({"_labelnames": ()}, "_labelvalues"),
        ({"_labelnames": ("a",), "_labelvalues": ()}, "_metrics"),
        ({"_labelnames": ("a",), "_labelvalues": ("x",)}, "_value"),
        ({"_labelnames": (), "_labelvalues": (), "_value": 1.0}, "_value"),
    ],
)
def test_a_changed_metric_is_an_error(attributes: dict[str, Any], name: str) -> None:
    with pytest.raises(UnsupportedLibraryError, match=rf"prometheus-client \d.*\.{name}` is missing"):
        check_metric(Changed(**attributes), "_value")


def test_the_installed_metrics_are_supported() -> None:
    made = counter("compat_total", "Test.", labels=("a",))

    made.labels("x").inc()

    assert REGISTRY.get_sample_value("compat_total", {"a": "x"}) == 1


def test_a_changed_router_is_an_error() -> None:
    @get("/plain")
    async def plain() -> None: ...

    app = Litestar([plain])
    check_litestar(app)
    app.asgi_router.handle_routing = lambda path, method: ("app", "handler", path)  # type: ignore[method-assign]
    check_litestar(app)

    app.asgi_router.handle_routing = lambda path: path  # type: ignore[method-assign]
    with pytest.raises(UnsupportedLibraryError, match=r"litestar \d.*handle_routing"):
        check_litestar(app)
