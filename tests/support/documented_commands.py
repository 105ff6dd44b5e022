"""Commands, files and output of a page, run in their order.

A comment before a code block describes it:

    <!-- run -->                   the commands, which must succeed
    <!-- start: MESSAGE -->        a command that runs until `stop` or the end, ready when it logs the text
    <!-- stop -->                  Ctrl-C for the started command, without a block
    <!-- file: PATH -->            the content of a file
    <!-- shows -->                 lines of their output; `...` is any text, and as a line any lines
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from starkeel_testing import wait_until

_BLOCK = re.compile(
    r"(?ms)^<!-- (?P<kind>run|start|file|shows)(?:: (?P<argument>[^>]*?))? -->\n"
    r"```\w+\n(?P<text>.*?)^```$|^<!-- (?P<stop>stop) -->$"
)
_START_S = 120.0
_RUN_S = 600.0


class Step(NamedTuple):
    """A block of a page, with the line of its first line."""

    kind: str
    argument: str
    text: str
    line: int


def steps(page: Path) -> list[Step]:
    """Return the described blocks of a page."""
    content = page.read_text("utf-8")
    found = []
    for block in _BLOCK.finditer(content):
        line = content.count("\n", 0, max(block.start(), block.start("text"))) + 1
        kind = block["kind"] or block["stop"]
        found.append(Step(kind, block["argument"] or "", block["text"] or "", line))
    return found


def run_page(page: Path, folder: Path, *, environ: Mapping[str, str], replaced: Mapping[str, str]) -> None:
    """Run a page.

    Args:
        page: The page.
        folder: Working directory.
        environ: Environment of the commands.
        replaced: Texts of the page that are others in the test, such as ports.

    Raises:
        AssertionError: A command fails, or shows something else; the message has the line of the page.
    """

    def adapted(text: str) -> str:
        for old, new in replaced.items():
            text = text.replace(old, new)
        return text

    output = ""
    with ExitStack() as stack:
        for step in steps(page):
            place, text = f"{page.name}:{step.line}", adapted(step.text)
            match step.kind:
                case "run":
                    output = _run(text, folder, environ, place)
                case "start":
                    stack.enter_context(_started(text, folder, environ, ready=step.argument, place=place))
                case "stop":
                    stack.close()
                case "file":
                    (folder / step.argument).write_text(text, encoding="utf-8")
                case _:
                    assert shows(output, text), f"{place}: expected\n{text}\nin\n{output}"


def shows(output: str, expected: str) -> bool:
    """Return whether an output has the expected lines in their order."""
    lines = [r"(?s:.*?\n)?" if line == "..." else f"{_line(line)}\n" for line in expected.splitlines()]
    return re.search("^" + "".join(lines), f"{output.strip()}\n", re.MULTILINE) is not None


def _line(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


def _run(text: str, folder: Path, environ: Mapping[str, str], place: str) -> str:
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=dict(environ), capture_output=True, text=True, timeout=_RUN_S, check=False
    )
    assert done.returncode == 0, f"{place}: ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def _started(
    text: str, folder: Path, environ: Mapping[str, str], *, ready: str, place: str
) -> Iterator[None]:
    log = folder.with_suffix(".log")
    with log.open("w") as file:
        # A session of its own, so that Ctrl-C reaches all its processes, as in a terminal.
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {text}"],
            cwd=folder,
            env=dict(environ),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: ready in log.read_text() or process.poll() is not None,
            timeout_s=_START_S,
            what=lambda: f"{place}: {ready!r} in\n{log.read_text()}",
        )
        assert process.poll() is None, f"{place}: ended with {process.returncode}\n{log.read_text()}"
        yield
        os.killpg(process.pid, signal.SIGINT)
        # 130 is the exit code of `just` after Ctrl-C, whatever that of its recipe is.
        assert process.wait(60) in {0, 130}, f"{place}: ended with {process.returncode}\n{log.read_text()}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
