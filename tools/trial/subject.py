"""Subjects of seatrial, and a run on one."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..registry import ROOT

_TIMEOUT_S = 900
_TOKENS = {"token", "token_file", "token_command"}
_FORMATS = ("terminal", "json", "html")


class TrialError(Exception):
    """seatrial could not run; the message has its reason."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A running service, an image or the manifests.

    Attributes:
        name: Name in reports, such as `orders, production`.
        keys: Keys of `seatrial.toml`, nested tables included.
        base: A `seatrial.toml` with further keys, if there is one.
    """

    name: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    base: Path | None = None


@dataclass(frozen=True)
class Trial:
    """A finished run.

    Attributes:
        name: Name of the subject.
        report: The report as JSON.
        folder: Folder of `report.html` and `report.json`.
    """

    name: str
    report: Mapping[str, Any]
    folder: Path

    @property
    def text(self) -> str:
        """The report as a terminal shows it."""
        return (self.folder / "report.terminal").read_text("utf-8")


def run(subject: Subject, output: Path) -> Trial:
    """Run `seatrial run` on a subject.

    Args:
        subject: The subject.
        output: Folder in which a folder for it is created.

    Raises:
        TrialError: It could not run.
    """
    folder = output / subject.name.replace(", ", "-").replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "seatrial.toml"
    # It contains tokens.
    configuration.touch(mode=0o600)
    configuration.write_text(toml(subject_keys(subject)), "utf-8")
    formats = [
        part for each in _FORMATS for part in ("--format", each, "--output", folder / f"report.{each}")
    ]
    command = [sys.executable, "-m", "seatrial", "run", "--config", configuration, *formats]
    code, errors = _finished(command)
    configuration.unlink()
    if code not in {0, 1}:
        raise TrialError(f"{subject.name}: {errors.strip()}")
    return Trial(subject.name, json.loads((folder / "report.json").read_text("utf-8")), folder)


def _finished(command: Sequence[str | Path]) -> tuple[int, str]:
    """Run a command; return its exit code and its errors."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            _, errors = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # It ends the services that it has started.
            process.terminate()
            process.communicate()
            return -1, f"not finished within {_TIMEOUT_S} s"
    return process.returncode, errors


def subject_keys(subject: Subject) -> dict[str, Any]:
    """Return all keys of `seatrial.toml` for a subject."""
    if subject.base is None or not subject.base.exists():
        return dict(subject.keys)
    base = tomllib.loads(subject.base.read_text("utf-8"))
    if "token" in subject.keys.get("auth", {}):
        # Three ways to get a token, of which a file may have one.
        base["auth"] = {key: text for key, text in base.get("auth", {}).items() if key not in _TOKENS}
    return merged(base, subject.keys)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of two files; the second has precedence, table by table."""
    found = dict(first)
    for key, value in second.items():
        is_table = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if is_table else value
    return found


def toml(keys: Mapping[str, Any], table: str = "") -> str:
    """Return keys as a file of TOML."""
    # A table ends the keys before it.
    lines = [f"{key} = {_value(value)}" for key, value in keys.items() if not isinstance(value, Mapping)]
    text = "".join(f"{line}\n" for line in lines)
    for key, value in keys.items():
        if isinstance(value, Mapping):
            text += f"[{table}{key}]\n{toml(value, f'{table}{key}.')}"
    return text


def _value(value: Any) -> str:
    # Strings, numbers and arrays of JSON are those of TOML, which has no pairs of surrogates and no raw DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
