"""One local page with the state, logs, traces, metrics and settings of every service.

It is a program: `starkeel-dashboard`.
"""

from ._cli import main

__all__ = ["main"]
