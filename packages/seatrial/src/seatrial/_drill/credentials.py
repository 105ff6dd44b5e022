"""Requests with credentials, whose values must appear nowhere."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from .._target.exchange import request_bytes
from .drill import Drill
from .instance import Instance
from .waiting import until_stable

_QUIET_S = 1.0
_ARRIVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials that were sent.

    Attributes:
        values: Values by what they were sent in.
        written: Output of the service from then on.
        telemetry: Spans that arrived from then on, as text.
        spans: Number of these spans.
    """

    values: Mapping[str, str]
    written: bytes
    telemetry: str
    spans: int

    def found_in(self, text: bytes) -> list[str]:
        """Return in what the credentials were sent that a text contains."""
        return [kind for kind, value in self.values.items() if value.encode() in text]


def sent_credentials(drill: Drill) -> Credentials:
    """Send credentials to the shared instance, and return what was written and exported."""
    return drill.once.get("credentials", lambda: _observe(drill))


def _observe(drill: Drill) -> Credentials:
    instance = drill.calm
    stdout, stderr = instance.stdout.size, instance.stderr.size
    spans = len(drill.collector.spans)
    kinds = ("authorization", "basic", "cookie", "x-api-key", "query", "body", "user-info")
    values = {kind: f"seatrial{secrets.token_hex(10)}" for kind in kinds}
    service = drill.service(instance)
    paths = [service.missing_path, drill.config.safe_read.path or service.readable_path]
    for path in dict.fromkeys(paths):
        for request in _requests(instance, path, values):
            service.client.raw(request, wait_for_close_s=0.0)
    if drill.config.safe_write.path:
        for request in _requests(instance, drill.config.safe_write.path, values):
            service.client.raw(request, wait_for_close_s=0.0)
    encoded = base64.b64encode(f"user:{values['basic']}".encode()).decode()

    def size() -> int:
        return instance.stdout.size + instance.stderr.size + len(drill.collector.spans)

    until_stable(size, quiet_s=_QUIET_S, timeout_s=_ARRIVAL_S)
    written = instance.stdout.data[stdout:] + instance.stderr.data[stderr:]
    arrived = drill.collector.spans[spans:]
    telemetry = "\n".join(f"{span} {span.status_message} {span.events}" for span in arrived)
    return Credentials({**values, "basic, encoded": encoded}, written, telemetry, len(arrived))


def _requests(instance: Instance, path: str, values: Mapping[str, str]) -> list[bytes]:
    authority = instance.address.authority
    basic = base64.b64encode(f"user:{values['basic']}".encode()).decode()
    separator = "&" if "?" in path else "?"
    query = f"{path}{separator}access_token={values['query']}&password={values['query']}"
    body = json.dumps({"username": "seatrial", "password": values["body"], "token": values["body"]}).encode()
    close = ("Connection", "close")
    headers = [
        close,
        ("Authorization", f"Bearer {values['authorization']}"),
        ("Cookie", f"session={values['cookie']}"),
        ("X-Api-Key", values["x-api-key"]),
    ]
    absolute = f"http://user:{values['user-info']}@{authority}{path}"
    json_type = ("Content-Type", "application/json")
    return [
        request_bytes("GET", path, authority, headers, None),
        request_bytes("GET", path, authority, [close, ("Authorization", f"Basic {basic}")], None),
        request_bytes("GET", query, authority, [close], None),
        request_bytes("POST", query, authority, [*headers, json_type], body),
        request_bytes("GET", absolute, authority, [close], None),
    ]
