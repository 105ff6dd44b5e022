"""Private names of Granian."""

import resource
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._config.exit_codes import StartError
from starkeel_server._worker import granian_engine


def test_the_installed_granian_is_compatible() -> None:
    assert all(granian_engine.granian())


def test_an_unsupported_granian_version_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granian_engine, "version", lambda _: "2.9.0")

    with pytest.raises(
        StartError, match=r"granian 2\.9\.0 is installed, but starkeel-server supports 2\.8\.x only"
    ):
        granian_engine.granian()


def test_a_missing_granian_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    core: Any = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "granian._granian", core)

    with pytest.raises(StartError, match=r"has no `granian\._granian\.ASGIWorker`"):
        granian_engine.granian()


def test_the_connection_limit_stays_below_the_open_file_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))

    assert granian_engine.connection_limit() == 768
