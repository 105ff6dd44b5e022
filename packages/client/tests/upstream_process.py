"""An upstream as a process of its own; responds with the status in a file.

Arguments: the port, and the file.
"""

import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, STATUS = int(sys.argv[1]), Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(int(STATUS.read_text("utf-8")))
        self.send_header("Content-Length", "2")
        self.end_headers()
        # The client may have timed out.
        with suppress(OSError):
            self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
