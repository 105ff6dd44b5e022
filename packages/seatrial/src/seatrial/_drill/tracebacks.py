"""Traces of code in output: what a crash leaves instead of a message."""

import re

_TRACEBACK = re.compile(
    rb"Traceback \(most recent call last\)"
    rb"|(?m:^\s+at \S.*[:(]\d+)"  # Node.js, Java, .NET
    rb"|(?m:^goroutine \d+ \[)"
    rb"|panicked at "
)


def find_traceback(output: bytes) -> str:
    """Return the first line of a traceback, or an empty text."""
    match = _TRACEBACK.search(output)
    return match[0].decode("utf-8", "replace").strip()[:100] if match else ""
