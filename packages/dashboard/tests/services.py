"""A service that answers the dashboard's requests."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from starkeel_testing import wait_until

METRICS = """# HELP shop_orders_total Orders.
# TYPE shop_orders_total counter
shop_orders_total{product="oak"} 7.0
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{path="/health/ready"} 99.0
# HELP db_client_connection_max Connections.
# TYPE db_client_connection_max gauge
db_client_connection_max 20.0
# HELP outbox_dead_letters Dead letters.
# TYPE outbox_dead_letters gauge
outbox_dead_letters 3.0
"""


class FakeService:
    """A service with an admin port, on one port."""

    def __init__(
        self, *, document: dict[str, Any] | None = None, settings: list[Any] | None = None, check: str = "db"
    ) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, Any]] = {
            "/health/ready": (
                200,
                {
                    "status": "ready",
                    "checks": {check: {"status": "ok", "duration_ms": 1.5, "critical": True}},
                },
            ),
            "/schema/openapi.json": (200, document or {"openapi": "3.1.0", "paths": {}}),
            "/admin/ready": (200, {"status": "ready", "workers": [{"index": 0, "status": "ready"}]}),
            "/admin/metrics": (200, METRICS),
            "/admin/config": (200, {"settings": settings or []}),
            "/admin/info": (200, {"version": "1.2.3", "started_at": "2026-01-01T00:00:00Z"}),
            "/admin/routes": (200, {"routes": []}),
            "/admin/migrations": (200, {"current": "0001", "newest": "0002", "pending": ["0002_add_price"]}),
        }
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.requests.append((f"{self.command} {self.path}", headers, self.rfile.read(length)))
                status, content = service.answers.get(self.path.partition("?")[0], (404, {}))
                is_text = isinstance(content, str)
                body = content.encode() if is_text else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if is_text else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it; connections are refused afterwards."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def paths(self) -> list[str]:
        return [request for request, _, _ in self.requests]

    def wait_until_polled(self, *, times: int) -> None:
        """Wait until it was polled completely, and that number of times in all."""
        wait_until(
            lambda: (
                self.paths().count("GET /health/ready") >= times and "GET /admin/migrations" in self.paths()
            ),
            timeout_s=60,
            what=lambda: f"requests of the dashboard, not {self.paths()}",
        )
