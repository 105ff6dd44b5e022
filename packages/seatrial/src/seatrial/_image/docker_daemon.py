"""Export of an image by the Docker daemon, over its Unix socket.

Source: https://docs.docker.com/reference/api/engine/ (Export an image)
"""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .errors import ImageError
from .tar import Source

_DEFAULT: Final = "unix:///var/run/docker.sock"
_SAVE: Final = "save the image and give the file: docker save NAME -o image.tar"
_TIMEOUT_S: Final = 120
"""Seconds without data: the daemon assembles the archive before it sends the first byte."""


@contextmanager
def exported(reference: str) -> Iterator[Source]:
    """Yield the archive of an image, as `docker save` writes it.

    The socket is that of the variable `DOCKER_HOST`, or Docker's default.

    Raises:
        ImageError: There is no daemon, or it has no such image.
    """
    path = socket_path()
    with closing(_UnixConnection(path)) as connection:
        try:
            connection.request("GET", f"/images/{quote(reference, safe='')}/get")
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ImageError(f"the Docker daemon at {path} does not respond ({problem}); {_SAVE}") from error
        if response.status != http.client.OK:
            raise ImageError(
                f"the Docker daemon does not export {reference!r}: {_message(response)}; is it pulled?"
            )
        yield _Body(response)


def socket_path() -> Path:
    """Return the path of the daemon's socket.

    Raises:
        ImageError: `DOCKER_HOST` is not a Unix socket.
    """
    # Docker's own variable, which every client of the daemon reads.
    host = os.environ.get("DOCKER_HOST") or _DEFAULT  # noqa: TID251
    if not host.startswith("unix://"):
        raise ImageError(f"`DOCKER_HOST` is {host!r}, and only `unix://` is supported; {_SAVE}")
    return Path(host.removeprefix("unix://"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))


class _Body:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        try:
            return self._response.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise ImageError(f"the Docker daemon stopped sending the image: {error}") from error


def _message(response: http.client.HTTPResponse) -> str:
    body = response.read(4096)
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status}"
