"""Serving of the site, rebuilt when a page or a package changes."""

import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .build import BuildError
from .links import BrokenLinkError
from .navigation import NavigationError


def serve(root: Path, folder: Path, port: int, rebuild: Callable[[], None]) -> None:
    """Serve a folder on the loopback interface until Ctrl-C, and rebuild the site on changes.

    Args:
        root: Root of the repository.
        folder: Folder of all versions.
        port: Port; 0 selects a free one.
        rebuild: Builds the site.
    """
    # Only for this command, not for the build.
    from watchfiles import watch

    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"serving http://127.0.0.1:{server.server_port}/\n")
        sys.stdout.flush()
        for _ in watch(root / "docs", root / "packages", root / "README.md", root / "CONTRIBUTING.md"):
            try:
                rebuild()
            except (BuildError, BrokenLinkError, NavigationError) as error:
                sys.stderr.write(f"the site was not rebuilt: {error}\n")
