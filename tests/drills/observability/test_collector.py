"""Export through a collector: every span arrives unchanged."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starkeel_auth import generate_private_key_pem
from starkeel_testing import OtlpReceiver, running

from ...support.report import report
from .stack_processes import collector

TIMES = 40
REQUESTS = (
    ("GET", "/.well-known/jwks.json", {}, 200, "/.well-known/jwks.json"),
    ("GET", "/api/users/me", {}, 401, "/api/users/me"),
    ("POST", "/api/users", {"json": {"email": "no address"}}, 400, "/api/users"),
    ("DELETE", "/.well-known/jwks.json", {}, 405, "/.well-known/jwks.json"),
    ("GET", "/nowhere", {}, 404, None),
)


@pytest.mark.parametrize(
    ("protocol", "compression"), [("http/protobuf", "none"), ("http/protobuf", "gzip"), ("grpc", "gzip")]
)
def test_every_span_passes_through_a_collector(
    tmp_path: Path, capsys: Any, protocol: str, compression: str
) -> None:
    with closing(OtlpReceiver()) as far_end, collector(tmp_path, far_end.endpoint) as endpoints:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoints[protocol],
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "JWT_PRIVATE_KEY": generate_private_key_pem(),
            "JWT_ISSUER": "https://accounts.example.com",
            "JWT_AUDIENCE": "shop",
            "RATE_LIMIT_SIGN_UP": "10000/minute",
            "RATE_LIMIT_DISCOVERY": "10000/minute",
        }
        with running("accounts", env) as accounts, httpx2.Client(base_url=accounts.url) as client:
            for number, (method, path, given, status, _) in enumerate(REQUESTS * TIMES, start=1):
                # Every second request continues a trace.
                headers = {"traceparent": f"00-{number:032x}-{number:016x}-01"} if number % 2 else {}
                assert client.request(method, path, headers=headers, **given).status_code == status

            expected = Counter({(method, route, status): TIMES for method, _, _, status, route in REQUESTS})
            spans = far_end.wait_for(
                lambda _: received_requests(far_end).total() >= expected.total(), timeout_s=60
            )

        report(capsys, f"{protocol}, {compression}", requests=expected.total(), spans=len(spans))
        assert received_requests(far_end) == expected
        parents = {span.parent_span_id for span in spans if span.kind == "server" and span.parent_span_id}
        assert parents == {f"{number:016x}" for number in range(1, expected.total() + 1, 2)}
        assert {span.service for span in spans} == {"accounts"}
        assert all(span.start_ns < span.end_ns for span in spans)


def received_requests(receiver: OtlpReceiver) -> Counter[tuple[Any, Any, Any]]:
    names = ("http.request.method", "http.route", "http.response.status_code")
    served = [
        span.attributes for span in receiver.spans() if span.kind == "server" and "/health" not in span.name
    ]
    return Counter(tuple(attributes.get(name) for name in names) for attributes in served)
