"""A database of the drilled service: `start PORT FILE` and `stop PORT FILE`; FILE gets its process id."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Handler(StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline() == b"ping\n":
            self.wfile.write(b"pong\n")


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def main(action: str, port: int, file: Path) -> None:
    if action == "serve":
        Server(("127.0.0.1", port), Handler).serve_forever()
    elif action == "start":
        command = [sys.executable, __file__, "serve", str(port), str(file)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        file.write_text(str(process.pid))
        while not is_listening(port):
            time.sleep(0.01)
    else:
        os.kill(int(file.read_text()), signal.SIGKILL)
        while is_listening(port):
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
