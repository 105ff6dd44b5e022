"""Webhook receiver for Alertmanager's notifications."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class AlertReceiver:
    """Received alerts, by the name of Alertmanager's receiver."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._alerts: list[tuple[str, dict[str, Any]]] = []

    def add(self, receiver: str, alerts: list[dict[str, Any]]) -> None:
        with self._lock:
            self._alerts += [(receiver, alert) for alert in alerts]

    def sent_to(self, receiver: str, name: str) -> list[dict[str, Any]]:
        """Return the alerts of a name that were sent to a receiver."""
        with self._lock:
            return [
                alert for to, alert in self._alerts if to == receiver and alert["labels"]["alertname"] == name
            ]


@contextmanager
def receiving_alerts() -> Iterator[tuple[AlertReceiver, str]]:
    """Run a receiver; yield it with its URL."""
    received = AlertReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.add(self.path.strip("/"), json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield received, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
