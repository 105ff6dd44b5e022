"""Images of the Docker daemon."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, ClassVar

import pytest
from seatrial._image.errors import ImageError
from seatrial._image.read import read_image

from .images import (
    EXAMPLE,
    digest,
    docker_files,
    pack,
)


class Daemon(BaseHTTPRequestHandler):
    """The part of Docker's API that is used, over a Unix socket."""

    images: ClassVar[dict[str, bytes]] = {}
    sent: ClassVar[int | None] = None

    def do_GET(self) -> None:
        archive = self.images.get(self.path)
        body = archive or json.dumps({"message": "No such image: shop:2.0"}).encode()
        self.send_response(200 if archive else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.sent])

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextmanager
def daemon(path: Path, monkeypatch: pytest.MonkeyPatch, **values: Any) -> Iterator[None]:
    handler = type("Handler", (Daemon,), values)
    with Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        try:
            yield
        finally:
            server.shutdown()
            thread.join(timeout=10)


def test_an_image_of_the_daemon_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"/images/registry.example%3A5000%2Fshop%3A1.0/get": pack(docker_files(EXAMPLE))}
    with daemon(tmp_path / "docker.sock", monkeypatch, images=images):
        image = read_image("registry.example:5000/shop:1.0")
        assert image.digest == digest(EXAMPLE.configuration())
        with pytest.raises(ImageError, match="No such image"):
            read_image("shop:2.0")


def test_a_daemon_that_stops_within_the_archive_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {"/images/shop/get": pack(docker_files(EXAMPLE))}
    with daemon(tmp_path / "docker.sock", monkeypatch, images=images, sent=2000), pytest.raises(ImageError):
        read_image("shop")


def test_a_missing_daemon_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(ImageError, match=r"does not respond \(No such file or directory\); save the image"):
        read_image("shop:1.0")
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(ImageError, match="only `unix://` is supported"):
        read_image("shop:1.0")


def test_a_missing_file_is_not_sought_at_the_daemon(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file"):
        read_image(str(tmp_path / "image.tar"))
