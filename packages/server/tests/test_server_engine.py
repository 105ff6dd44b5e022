"""The private names of Granian."""

import resource
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._config.exit_codes import StartError
from starkeel_server._worker import granian_engine


def test_the_installed_granian_has_every_name_that_is_used() -> None:
    assert all(granian_engine.granian())


def test_another_granian_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granian_engine, "version", lambda _: "2.9.0")

    with pytest.raises(
        StartError, match=r"granian 2\.9\.0 is installed, and starkeel-server drives 2\.8\.x only"
    ):
        granian_engine.granian()


def test_a_missing_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    core: Any = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "granian._granian", core)

    with pytest.raises(StartError, match=r"has no `granian\._granian\.ASGIWorker`"):
        granian_engine.granian()


def test_a_worker_accepts_no_more_connections_than_it_may_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))

    assert granian_engine.connection_limit() == 768
