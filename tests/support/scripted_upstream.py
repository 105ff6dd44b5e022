"""Upstream on a real socket with a scripted response."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class ScriptedUpstream:
    """An upstream with a scripted response, which records the last request."""

    def __init__(self) -> None:
        self.status, self.media_type, self.body = 200, "application/json", b"[]"
        self.request: tuple[str, str, Any, bytes] = ("", "", {}, b"")
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                upstream.request = (self.command, self.path, self.headers, body)
                self.send_response(upstream.status)
                self.send_header("Content-Type", upstream.media_type)
                if upstream.status != 204:
                    self.send_header("Content-Length", str(len(upstream.body)))
                self.end_headers()
                if upstream.status != 204:
                    self.wfile.write(upstream.body)

            do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def responds(self, status: int, body: object = None, media_type: str = "application/json") -> None:
        self.status, self.media_type, self.body = status, media_type, json.dumps(body).encode()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
