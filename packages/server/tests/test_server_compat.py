"""Private names of third-party libraries, and the error when one has changed."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import prometheus_client.values
import pytest
from litestar import Litestar
from litestar.handlers import BaseRouteHandler
from prometheus_client.mmap_dict import MmapedDict
from starkeel_server import _compat
from starkeel_server._config.exit_codes import CRASH_LOOP, StartError
from starkeel_server._metrics import shared_values
from starkeel_server._worker import granian_engine
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def uncached() -> None:
    _compat.granian.cache_clear()


def test_the_installed_granian_is_compatible() -> None:
    assert all(_compat.granian())


def test_an_unsupported_granian_version_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compat, "version", lambda _: "2.9.0")

    with pytest.raises(
        StartError, match=r"granian 2\.9\.0 is installed, but starkeel-server supports 2\.8\.x only"
    ) as refused:
        _compat.granian()

    assert refused.value.exit_code == CRASH_LOOP


def test_a_missing_granian_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    core: Any = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "granian._granian", core)

    with pytest.raises(StartError, match=r"has no `granian\._granian\.ASGIWorker`"):
        _compat.granian()


def test_a_changed_granian_signature_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(callback: Any, state: Any) -> None: ...

    monkeypatch.setattr("granian.asgi._callback_wrapper", changed)

    with pytest.raises(
        StartError, match=r"`changed\(callback, state\)` does not accept \(callback, scope_opts"
    ):
        _compat.granian()


def test_a_changed_plugin_registry_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Litestar()
    monkeypatch.setattr(app.plugins, "init", {}, raising=False)

    with pytest.raises(StartError, match=r"litestar .*`PluginRegistry\.init` is a dict, not a tuple"):
        _compat.ordered_plugins(app)


def test_a_route_handler_without_its_function_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    _compat.check_litestar()
    monkeypatch.delattr(BaseRouteHandler, "fn")

    with pytest.raises(StartError, match=r"litestar .*`BaseRouteHandler` has no `fn`"):
        _compat.check_litestar()


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    # Restored afterwards: the check replaces it.
    monkeypatch.setattr(prometheus_client.values, "ValueClass", prometheus_client.values.ValueClass)
    return tmp_path


def test_the_installed_prometheus_client_is_compatible(metrics: Path) -> None:
    shared_values.check_prometheus_client(metrics)

    assert list(metrics.iterdir()) == []


def test_a_prometheus_client_without_a_private_name_is_reported(
    metrics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(prometheus_client.values, "MultiProcessValue")

    with pytest.raises(StartError, match=r"prometheus-client .* is not compatible .*MultiProcessValue"):
        shared_values.check_prometheus_client(metrics)


def test_a_prometheus_client_that_stores_values_differently_is_reported(
    metrics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MmapedDict, "read_all_values_from_file", lambda _: [("key", 1.0, 0.0, 99)])

    with pytest.raises(StartError, match=r"values are at \[99\], exemplars at \[\d+\]"):
        shared_values.check_prometheus_client(metrics)


def test_without_cryptography_the_certificate_expiry_is_not_reported(
    certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "cryptography.x509", missing)

    with capture_logs() as lines:
        granian_engine.set_certificate_expiry(certificate.cert)

    (line,) = lines
    assert line["event"] == "certificate expiry not reported"
    assert "install starkeel-server[tls]" in line["reason"]


def test_the_connection_limit_stays_below_the_open_file_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))

    assert granian_engine.connection_limit(8192) == 768
