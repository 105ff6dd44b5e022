"""Comparison of AsyncAPI documents: what a service publishes, and what others receive of it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .schema_subset import Subset, resolved

Document = Mapping[str, Any]


class _Message(NamedTuple):
    """A message of an operation: its topic, the name of its type, and the schema of its data."""

    topic: str
    type: str
    data: Mapping[str, Any]


def breaking_event_changes(old: Document, new: Document) -> Iterator[str]:
    """Yield what a consumer of the old document's events cannot rely on in the new one."""
    published = {each.type: each for each in _messages(new, "send")}
    for before in _messages(old, "send"):
        where = f"event {before.type}"
        if before.type not in published:
            yield f"{where}: is removed"
            continue
        subset = Subset(new, old, is_response=True)
        yield from subset.excess(published[before.type].data, before.data, where)


def unmet_consumers(folder: Path) -> Iterator[str]:
    """Yield what services need of events that other services of the folder do not publish."""
    documents = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    for service, document in documents.items():
        for needed in _messages(document, "receive"):
            if needed.topic not in documents:
                # A service of another repository.
                continue
            where = f"{service}.json: event {needed.type} of {needed.topic}"
            publisher = documents[needed.topic]
            published = {each.type: each for each in _messages(publisher, "send")}
            if needed.type not in published:
                yield f"{where}: is not published"
                continue
            subset = Subset(publisher, document, is_response=False)
            for reason in subset.excess(published[needed.type].data, needed.data, where):
                yield f"{reason}, and {needed.topic} publishes it otherwise"


def _messages(document: Document, action: str) -> Iterator[_Message]:
    """Yield the messages of all operations of a kind, in the form in which services describe them."""
    for operation in document.get("operations", {}).values():
        if operation["action"] != action:
            continue
        channel = resolved(operation["channel"], document)
        for reference in operation["messages"]:
            message = resolved(reference, document)
            *_, fields = message["payload"]["allOf"]
            yield _Message(channel["address"], message["name"], fields["properties"]["data"])
