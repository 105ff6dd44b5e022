"""Start, stop and health of the service of an image."""

import posixpath
import re
import signal
from typing import Final

from .._static.findings import Findings
from .model import Image
from .programs import command_line, find_program, is_shell, script_of

_RUNNERS: Final = {"npm", "yarn", "pnpm", "npx"}
_UNHANDLED: Final = {"SIGKILL", "SIGSTOP"}
_REAL_TIME: Final = re.compile(r"SIGRTM(?:IN|AX)(?:[+-]\d+)?")
_EXEC: Final = re.compile(rb"(?:^|[\s;&|])exec\s", re.MULTILINE)


def healthcheck(image: Image, findings: Findings) -> None:
    """Judge `HEALTHCHECK`, or that its absence is stated."""
    test = image.config.healthcheck.test if image.config.healthcheck else ()
    if not test:
        findings.bad("no `HEALTHCHECK`; if the platform has probes of its own, state it: `HEALTHCHECK NONE`")
    elif test[0] == "NONE":
        findings.good("`HEALTHCHECK NONE`")
    elif test[0] == "CMD-SHELL":
        has_shell = find_program(image, "/bin/sh") is not None
        findings.judge(
            has_shell, f"`HEALTHCHECK {' '.join(test)}`", "`HEALTHCHECK` needs a shell; there is none"
        )
    else:
        program = " ".join(test[1:2])
        found = find_program(image, program) is not None
        findings.judge(
            found, f"`HEALTHCHECK {' '.join(test)}`", f"`HEALTHCHECK` starts {program!r}, which is missing"
        )


def stop_signal(image: Image, findings: Findings) -> None:
    """Judge the signal that a container runtime sends first."""
    given = image.config.stop_signal
    name = given.upper() if given.upper().startswith("SIG") else f"SIG{given.upper()}"
    if given.isascii() and given.isdecimal() and len(given) <= 2:
        name = {number.value: number.name for number in signal.Signals}.get(int(given), given)
    if not given:
        findings.good("SIGTERM, the default of container runtimes")
    elif name in _UNHANDLED:
        findings.bad(f"`STOPSIGNAL` is {given}, which no process can handle")
    elif name in signal.Signals.__members__ or _REAL_TIME.fullmatch(name):
        findings.good(f"`STOPSIGNAL` is {given}")
    else:
        findings.bad(f"`STOPSIGNAL` is {given!r}, which is not a signal of Linux")


def signal_delivery(image: Image, findings: Findings) -> None:
    """Judge whether the signal reaches the service rather than a shell in front of it."""
    words = command_line(image)
    script = script_of(words)
    if not words:
        findings.undecided("the image has neither `ENTRYPOINT` nor `CMD`")
    elif script is not None:
        has_exec = _EXEC.search(script.encode()) is not None
        findings.judge(
            has_exec, "a shell that replaces itself: `exec`", f"a shell starts the service: {script!r}"
        )
    elif is_shell(words[0]) and len(words) == 1:
        findings.bad(f"the command line is a shell without a script: {words[0]!r}")
    elif is_shell(words[0]):
        _judge_script(image, words[1:2], findings)
    elif posixpath.basename(words[0]) in _RUNNERS:
        findings.bad(f"`{words[0]}` starts the service as a child and does not wait for it")
    else:
        _judge_script(image, words[:1], findings)


def _judge_script(image: Image, words: list[str], findings: Findings) -> None:
    """Judge a first process that may be a script of a shell."""
    found = find_program(image, words[0]) if words else None
    if found is None:
        findings.bad(f"the program {' '.join(words)!r} is missing or not executable")
        return
    path, file = found
    first = file.head.split(b"\n", 1)[0]
    if not first.startswith(b"#!") or not any(map(is_shell, first[2:].decode("utf-8", "replace").split())):
        findings.good(f"the first process is {path}")
    else:
        has_exec = _EXEC.search(file.head) is not None
        findings.judge(
            has_exec, f"{path} replaces itself: `exec`", f"{path} starts the service without `exec`"
        )
