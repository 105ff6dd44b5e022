"""Properties inherited from the parent process: standard streams, umask, limits, and orphaned processes."""

import os
import resource
import sys
from collections.abc import Container
from contextlib import suppress

_OWNER = 0o077
"""Bits of the umask that are kept: files must be readable for the process that creates them."""
_MIN_FILES = 1024
"""Open files that every process may need; more than that are for the connections of a worker."""


def set_up_inherited() -> None:
    """Open closed standard streams, and correct the umask and a very low limit of open files.

    To be called before any file or socket is opened.

    Otherwise a socket could get the number of a closed stream, and an error message be written to it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest free number, and workers inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Commands write to them; `None` if they were closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.umask(os.umask(_OWNER) & _OWNER)
    raise_file_limit(_MIN_FILES)


def raise_file_limit(needed: int) -> int:
    """Raise the soft limit of open files up to the hard one, to `needed` at most, and return it.

    The soft limit is low for the sake of programs that use `select`; others are expected to raise it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # An infinite limit is -1.
    target = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        # A sandbox may forbid it; the service then works with the lower limit.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            return target
    return needed if soft == resource.RLIM_INFINITY else soft


def inherited_problem() -> str | None:
    """Return why no service can run in this process, and what to do; None if there is no such problem."""
    try:
        os.getcwd()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"the working directory cannot be used: {reason}; change to another directory"
    if any(map(_is_fatal, sys.warnoptions)):
        return (
            "PYTHONWARNINGS or -W turns every warning of every library into an exception; name a category, "
            "such as error::ResourceWarning"
        )
    return None


def _is_fatal(option: str) -> bool:
    """Return whether an option for warnings is `error`, or an abbreviation, for all warnings."""
    action, *others = option.split(":")
    return bool(action) and "error".startswith(action) and not any(others)


def reap_orphans(own: Container[int]) -> None:
    """Collect ended processes of other parents, which the kernel gives to PID 1; no effect elsewhere.

    Args:
        own: Process ids of the workers, whose exit codes are read elsewhere.
    """
    if os.getpid() != 1:
        return
    # There may be no children at all.
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
