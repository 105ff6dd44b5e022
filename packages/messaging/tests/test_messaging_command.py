"""The commands of a service with events, in processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(240)

_FILES = {
    "__init__.py": "",
    "migrations/__init__.py": "",
    "app.py": """
from datetime import timedelta

import msgspec
from litestar import Litestar
from starkeel_db import OutboxPlugin
from starkeel_jobs import JobsPlugin
from starkeel_messaging import EventContext, EventType, MessagingPlugin, on_event
from starkeel_server import build

from .__main__ import SERVICE
from .settings import Settings


class Packed(msgspec.Struct):
    number: int


PACKED = EventType("parcel.packed", Packed)


@on_event("depot", PACKED)
async def count(context: EventContext, event: Packed) -> None:
    pass


def create_app(settings: Settings) -> Litestar:
    messaging = MessagingPlugin(settings.messaging, service="shop", publishes=[PACKED], handlers=[count])
    plugins = [OutboxPlugin(retention=timedelta(days=1)), JobsPlugin(settings.jobs, jobs=[]), messaging]
    return build(SERVICE, settings, handlers=[], plugins=plugins)
""",
    "settings.py": """
from starkeel_config import ServiceSettings
from starkeel_db import DatabaseSettings
from starkeel_jobs import JobSettings
from starkeel_messaging import MessagingSettings
from starkeel_server import ServerSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    database: DatabaseSettings
    jobs: JobSettings
    messaging: MessagingSettings
    server: ServerSettings
""",
    "__main__.py": """
from starkeel_server import Service, run

SERVICE = Service(name="shop", settings="shop.settings:Settings", app="shop.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
""",
}


class Shop:
    """A service in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop" / "migrations").mkdir(parents=True)
        for name, text in _FILES.items():
            (folder / "shop" / name).write_text(text.lstrip())
        environ = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        self.environ = {
            **environ,
            "ENVIRONMENT": "development",
            "DATABASE_URL": f"sqlite:///{folder / 'shop.db'}",
            "BROKER_URL": f"sqlite:///{folder / 'events.db'}",
        }

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the service."""
        return subprocess.run(
            [sys.executable, "-m", "shop", *words],
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return a service whose tables are created."""
    shop = Shop(tmp_path_factory.mktemp("project"))
    for words in (["revision", "add events"], ["migrate"]):
        done = shop.run(*words)
        assert done.returncode == 0, done.stderr
    return shop


def test_the_tables_do_not_depend_on_the_broker(shop: Shop) -> None:
    [migration] = (shop.folder / "shop" / "migrations").glob("0*.py")
    assert "outbox_broker" in migration.read_text()

    again = shop.run("revision", "nothing", BROKER_URL="")
    assert list((shop.folder / "shop" / "migrations").glob("0*.py")) == [migration], again.stdout


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (
            ["events", "replay", "--topic", "depot", "--from", "noon"],
            1,
            "no event of 'depot' has been received",
        ),
        (["events", "replay", "--topic", "depot", "--from", "noonT"], 2, "--from: 'noonT' is no time like"),
        (["events", "replay", "--topic", "dept", "--from", "1"], 2, "'dept' is none of the topics: depot"),
        (["events", "replay", "--topic", "depot"], 2, "the following arguments are required: --from"),
        (["events"], 2, "ACTION"),
    ],
)
def test_mistakes_are_named(shop: Shop, words: list[str], code: int, problem: str) -> None:
    done = shop.run(*words)

    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_broker_is_named(shop: Shop) -> None:
    listed = shop.run("events", "list", BROKER_URL="")
    replayed = shop.run("events", "replay", "--topic", "depot", "--from", "1", BROKER_URL="")

    assert (listed.returncode, listed.stdout.split()) == (
        0,
        ["topic", "position", "holder", "waiting", "oldest"],
    )
    assert (replayed.returncode, replayed.stdout) == (2, "")
    assert "BROKER_URL is not set" in replayed.stderr


def test_the_document_of_events_needs_no_configuration(shop: Shop) -> None:
    done = shop.run("asyncapi", DATABASE_URL="", BROKER_URL="nonsense", ENVIRONMENT="production")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["title"] == "shop"
    assert list(document["channels"]) == ["depot", "shop"]
    assert {name: each["action"] for name, each in document["operations"].items()} == {
        "receive.parcel.packed.count": "receive",
        "send.parcel.packed": "send",
    }
    for operation in document["operations"].values():
        for reference in (operation["channel"], *operation["messages"]):
            assert resolved(document, reference["$ref"])
    message = document["components"]["messages"]["parcel.packed"]
    data = message["payload"]["allOf"][1]["properties"]["data"]
    assert resolved(document, data["$ref"])["properties"] == {"number": {"type": "integer"}}


def resolved(document: Any, reference: str) -> Any:
    """Return what a reference leads to."""
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document
