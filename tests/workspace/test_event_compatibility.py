"""The check of AsyncAPI documents: breaking changes, and consumers of what is not published."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starkeel_messaging import EventContext, EventType, MessagingPlugin, MessagingSettings, on_event

from tools.checks.event_compatibility import breaking_event_changes, unmet_consumers
from tools.registry import ROOT


class Placed(msgspec.Struct):
    order_id: str
    total: int
    note: str | None = None


class Paid(msgspec.Struct):
    order_id: str


def document(service: str, publishes: dict[str, Any], handles: dict[tuple[str, str], Any]) -> Any:
    """Return the document of a service, given types by their names, and by topic and name."""

    def handler(topic: str, name: str, data: Any) -> Any:
        async def handle(context: EventContext, event: Any) -> None:
            pass

        return on_event(topic, EventType(name, data), name=f"on {name}")(handle)

    plugin = MessagingPlugin(
        MessagingSettings(),
        service=service,
        publishes=[EventType(name, data) for name, data in publishes.items()],
        handlers=[handler(topic, name, data) for (topic, name), data in handles.items()],
    )
    info = {"title": service, "version": "1.0.0"}
    return json.loads(json.dumps({"asyncapi": "3.0.0", "info": info, **plugin.asyncapi()}))


SHOP = document("shop", {"order.placed": Placed}, {})


def struct(**fields: Any) -> Any:
    """Return a struct of the name `Placed`."""
    given = [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in fields.items()]
    return msgspec.defstruct("Placed", given, kw_only=True)


def test_a_document_has_the_envelope_and_the_data() -> None:
    [operation] = SHOP["operations"].values()
    assert operation["action"] == "send"
    assert SHOP["channels"]["shop"]["address"] == "shop"
    payload = SHOP["components"]["messages"]["order.placed"]["payload"]
    assert payload["allOf"][0] == {"$ref": "#/components/schemas/CloudEvent"}
    assert payload["allOf"][1]["properties"]["type"] == {"const": "order.placed"}
    assert SHOP["components"]["schemas"]["Placed"]["required"] == ["order_id", "total"]


@pytest.mark.parametrize(
    ("publishes", "problem"),
    [
        ({}, "event order.placed: is removed"),
        ({"order.put": Placed}, "event order.placed: is removed"),
        (
            {"order.placed": struct(order_id=str, note=(str | None, None))},
            "event order.placed.total: is no longer always sent",
        ),
        ({"order.placed": struct(order_id=str, total=int)}, "event order.placed.note: is removed"),
        (
            {"order.placed": struct(order_id=int, total=int, note=(str | None, None))},
            "event order.placed.order_id: integer is not accepted",
        ),
    ],
)
def test_breaking_changes_are_found(publishes: dict[str, Any], problem: str) -> None:
    assert list(breaking_event_changes(SHOP, document("shop", publishes, {}))) == [problem]


def test_additions_break_nothing() -> None:
    more = struct(order_id=str, total=int, note=(str | None, None), currency=str)
    new = document("shop", {"order.placed": more, "order.paid": Paid}, {("accounts", "user.left"): Paid})

    assert list(breaking_event_changes(SHOP, new)) == []
    assert list(breaking_event_changes(new, {**new, "operations": {}})) != []


@pytest.mark.parametrize(
    ("needed", "problems"),
    [
        ({("shop", "order.placed"): struct(order_id=str)}, []),
        ({("shop", "order.placed"): struct(order_id=str, coupon=(str | None, None))}, []),
        ({("elsewhere", "order.placed"): struct(other=int)}, []),
        ({("shop", "order.paid"): Placed}, ["is not published"]),
        ({("shop", "order.placed"): struct(coupon=str)}, ["order.placed of shop.coupon: is now required"]),
        ({("shop", "order.placed"): struct(note=str)}, ["order.placed of shop.note: null is not accepted"]),
    ],
)
def test_what_consumers_need_must_be_published(
    tmp_path: Path, needed: dict[tuple[str, str], Any], problems: list[str]
) -> None:
    for name, each in (("shop", SHOP), ("depot", document("depot", {}, needed))):
        (tmp_path / f"{name}.json").write_text(json.dumps(each))

    found = list(unmet_consumers(tmp_path))

    for problem in problems:
        assert any(problem in each for each in found), found
    assert bool(found) == bool(problems)


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.checks.api_compatibility", "--root", str(root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_check_compares_with_the_released_document(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "asyncapi"
    (folder / "released").mkdir(parents=True)
    (folder / "shop.json").write_text(json.dumps(document("shop", {}, {})))

    missing = check(tmp_path)
    assert (missing.returncode, missing.stderr) == (
        1,
        "docs/asyncapi/released/shop.json is missing: run `just release-openapi`\n",
    )
    (folder / "released" / "shop.json").write_text(json.dumps(SHOP))
    broken = check(tmp_path)
    assert broken.returncode == 1
    assert "shop.json: event order.placed: is removed\n" in broken.stderr
    (folder / "shop.json").write_text(json.dumps(SHOP))
    assert check(tmp_path).returncode == 0
