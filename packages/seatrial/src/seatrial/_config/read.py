"""Reading of `seatrial.toml`, with errors that name the key, the problem and the way out."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .._errors import UsageError
from .model import Config, DrillKeys

DEFAULT_FILE = Path("seatrial.toml")
_Table = TypeVar("_Table")


def read_config(path: Path | None) -> Config:
    """Return the configuration.

    Args:
        path: The file, or None for `seatrial.toml` in the working directory if it exists.

    Raises:
        UsageError: The file cannot be read, or a key is unknown or has a wrong value.
    """
    if path is None:
        if not DEFAULT_FILE.exists():
            return Config()
        path = DEFAULT_FILE
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    config = _table(Config, document, str(path), "")
    _check(config, str(path))
    return config


def _check(config: Config, name: str) -> None:
    if not 0.1 <= config.timeout_s <= 60:
        raise UsageError(f"{name}: timeout_s: {config.timeout_s:g} is not between 0.1 and 60 seconds")
    if not 0 <= config.stop_s <= 86_400:
        raise UsageError(f"{name}: stop_s: {config.stop_s:g} is not between 0 and 86400 seconds")
    if config.image.max_size_mib < 1:
        raise UsageError(f"{name}: image.max_size_mib: {config.image.max_size_mib} is not at least 1")
    if config.safe_write.method not in {"POST", "PUT", "PATCH"}:
        raise UsageError(f"{name}: safe_write.method: {config.safe_write.method!r} is not POST, PUT or PATCH")
    _check_drill(config.drill, name)
    tokens = [config.auth.token, config.auth.token_file, config.auth.token_command]
    if sum(map(bool, tokens)) > 1:
        raise UsageError(f"{name}: auth: token, token_file and token_command exclude one another; keep one")
    texts = {
        **{
            f"paths.{field.name}": getattr(config.paths, field.name)
            for field in dataclasses.fields(config.paths)
        },
        **{
            f"drill.{field.name}": getattr(config.drill, field.name)
            for field in dataclasses.fields(config.drill)
            if field.name.endswith("_path")
        },
        "safe_read.path": config.safe_read.path,
        "safe_write.path": config.safe_write.path,
        "auth.protected_path": config.auth.protected_path,
        "auth.jwks_path": config.auth.jwks_path,
    }
    for key, value in texts.items():
        if value and (not value.startswith("/") or not value.isascii() or any(char <= " " for char in value)):
            raise UsageError(
                f"{name}: {key}: {value!r} is not a path; it begins with / and is percent-encoded"
            )


def _check_drill(drill: DrillKeys, name: str) -> None:
    for key in ("start_s", "request_timeout_s", "slow_client_s"):
        if not 0.1 <= getattr(drill, key) <= 600:
            value = getattr(drill, key)
            raise UsageError(f"{name}: drill.{key}: {value:g} is not between 0.1 and 600 seconds")
    if drill.boot_without_database not in {"", "waits", "exits"}:
        value = drill.boot_without_database
        raise UsageError(f"{name}: drill.boot_without_database: {value!r} is not `waits` or `exits`")
    if bool(drill.database_stop) != bool(drill.database_start):
        raise UsageError(f"{name}: drill.database_stop and drill.database_start need one another; set both")


def _table(kind: type[_Table], given: Mapping[str, Any], name: str, prefix: str) -> _Table:
    hints = get_type_hints(kind)
    values = {}
    for key, value in given.items():
        full = f"{prefix}{key}"
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else f"; known: {', '.join(sorted(hints))}"
            raise UsageError(f"{name}: unknown key {full}{hint}")
        values[key] = _value(hints[key], value, name, full)
    return kind(**values)


def _value(kind: Any, value: Any, name: str, key: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise UsageError(f"{name}: {key}: a table is expected, [{key}]")
        return _table(kind, value, name, f"{key}.")
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise UsageError(f'{name}: {key}: a table of strings is expected, such as {{ NAME = "value" }}')
        return value
    if get_args(kind):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError(f'{name}: {key}: an array of strings is expected, such as ["a", "b"]')
        return tuple(value)
    accepted = {str: (str,), int: (int,), float: (int, float)}[kind]
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise UsageError(f"{name}: {key}: {_NAMES[kind]} is expected, not {value!r}")
    return kind(value)


_NAMES = {str: "a string", int: "a whole number", float: "a number"}
