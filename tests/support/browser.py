"""A page in a real browser: Chromium, driven over the DevTools protocol."""

import itertools
import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starkeel_testing import wait_until
from websockets.sync.client import ClientConnection, connect

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,1600",
    "--remote-debugging-port=0",
]
WAIT_S = 30.0


class Memory(NamedTuple):
    """Memory that a page keeps: bytes of the heap, nodes of documents, and listeners of events."""

    heap_bytes: int
    nodes: int
    listeners: int


class Page:
    """One tab, with the requests, errors and policy violations it caused."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requested: list[str] = []
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, scheme: str) -> None:
        """Set the colour scheme that the user prefers, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        """Press and release a key without a text, such as `Tab`, or `Enter`."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def run_in_new_documents(self, script: str) -> None:
        """Run a script in each document that is opened from now on, before its own scripts."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def memory(self) -> Memory:
        """Return what the page keeps after a garbage collection."""
        self._call("HeapProfiler.collectGarbage")
        counts = self._call("Memory.getDOMCounters")
        heap = self._call("Runtime.getHeapUsage")
        return Memory(int(heap["usedSize"]), counts["nodes"], counts["jsEventListeners"])

    def screenshot(self) -> bytes:
        """Return what the page shows, as PNG."""
        return b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        self._call("Browser.close")

    def evaluate(self, expression: str) -> Any:
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        what = lambda: f"{expression}; errors: {self.errors}"  # noqa: E731
        return wait_until(lambda: self.evaluate(expression), timeout_s=WAIT_S, what=what)

    def click(self, selector: str) -> None:
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def type(self, selector: str, text: str) -> None:
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).focus()")
        self.insert(text)

    def replace(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).focus()")
        self.evaluate(f"document.querySelector({selector!r}).select()")
        self.insert(text)

    def insert(self, text: str) -> None:
        """Insert a text into the element that has the focus."""
        self._call("Input.insertText", text=text)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            received = json.loads(self._socket.recv(timeout=WAIT_S))
            if received.get("id") == number:
                assert "error" not in received, received
                result: dict[str, Any] = received["result"]
                return result
            self._record(received)

    def _record(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Log.entryAdded":
                self.errors.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(params["exceptionDetails"]["text"])


@contextmanager
def browser_page(profile: Path) -> Iterator[Page]:
    """Run Chromium with one page until the block ends.

    Args:
        profile: Empty directory for the browser's files.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        report: Callable[[str], Any] = pytest.fail if os.environ.get("CI") else pytest.skip
        report("Chromium is not installed: apt-get install chromium")
    command = [str(chromium), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            active_port = profile / "DevToolsActivePort"
            wait_until(
                lambda: active_port.is_file() and "/" in active_port.read_text(),
                timeout_s=WAIT_S,
                what="Chromium",
            )
            port, path = active_port.read_text().split()
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
                page = Page(socket)
                yield page
                page.close()
            process.wait(WAIT_S)
        finally:
            process.kill()
