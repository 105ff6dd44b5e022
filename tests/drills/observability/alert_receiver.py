"""Where Alertmanager's notifications arrive."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class Inbox:
    """Keeps alerts by the name of the receiver that they were sent to."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._alerts: list[tuple[str, dict[str, Any]]] = []

    def take(self, receiver: str, alerts: list[dict[str, Any]]) -> None:
        with self._lock:
            self._alerts += [(receiver, alert) for alert in alerts]

    def alerts(self, receiver: str, name: str) -> list[dict[str, Any]]:
        """Return the alerts of a name that a receiver was sent."""
        with self._lock:
            return [one for to, one in self._alerts if to == receiver and one["labels"]["alertname"] == name]


@contextmanager
def receiving() -> Iterator[tuple[Inbox, str]]:
    """Take notifications until the block ends; the inbox and its URL."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.take(self.path.strip("/"), json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield inbox, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
