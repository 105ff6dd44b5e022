"""Claims of the guides and READMEs about defaults, compared with the settings.

`docs/configuration.md`, and parts of Markdown between two comments, are generated. Elsewhere a number on the
line of a setting is taken for its default.
One that is something else is listed in `UNRELATED`, so that a new one requires a decision.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from starkeel_auth import AuthSettings
from starkeel_config import ConfigurationError, ServiceSettings, Settings, load, reference
from starkeel_db import DatabaseSettings
from starkeel_http import HttpSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings

from tools.workspace import service_names

ROOT = Path(__file__).parents[2]
GENERATED = {"docs/configuration.md", "docs/services.md", "CHANGELOG.md"}
UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "ms": 1, "s": 1, "second": 1, "seconds": 1}
UNITS |= {"minute": 60, "minutes": 60, "h": 3600, "hour": 1, "hours": 1}
WORDS = {"off": "false", "on": "true", "empty": "", "not set": "", "none": ""}
_NAME = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`")
_ASSIGNED = re.compile(r"(?<![A-Z0-9_-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)=([^\s`,;)|\\]+)")
_LINK = re.compile(r"\]\([^)]*\)|https?://\S+")
_CODE = re.compile(r"`[^`]*`")
_STATUS = re.compile(r"(?<![\d.,])[1-5]\d\d\b(?!,\d|\s*(?:ms|s|seconds|MiB)\b)")
_CLOSE_CODE = re.compile(r"\bclosed with \d{4}\b")
_DECISION = re.compile(r"\bdecision \d{4}\b")
_SUM = re.compile(r"`([A-Z_]+)` plus `([A-Z_]+)` \(\[?(\d+) seconds(?:\]\([^)]*\))? by default\)")
_DEFAULT = re.compile(r"\bdefaults?\b")
_BY_DEFAULT = re.compile(r"\(?`?([\w./-]+(?: (?:MiB|s|seconds|ms))?)`?,? by default")
_EXIT = re.compile(r"\bexits?(?: with)? \d+")
_LIST = re.compile(r"^\s*\d+\. ")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*(?: (?:KiB|MiB|ms|s|seconds|minutes|hours)\b)?")

UNRELATED = {
    "docs/kubernetes.md": ("`SHUTDOWN_FLUSH_SECONDS` + 2",),
    "docs/lifecycle.md": (
        "at least 1 s",
        "`DRAIN_DELAY_SECONDS` \u2212 1 s",
        "(workers + 1)",
        "headers and idle connections: 75 s",
        "within 10 ms of the response",
        "closed after the 75 s",
        "| 18,025 | 18,025 | 0 | 355 ms |",
    ),
    "packages/db/README.md": ("7, 7 and 6", "| 69 |"),
    "packages/http/README.md": ("above 0", "(RFC 9110, 7.4)", "| 414 |", "| 431 |", "or 64 if"),
    "services/accounts/README.md": ("197,676 common passwords",),
}
"""Numbers on the line of a setting that are not its default, by document."""


class PackageSettings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of the packages, which their pages document whether or not a service has them."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    database: DatabaseSettings
    auth: AuthSettings


@cache
def settings() -> dict[str, type[Settings]]:
    """Return all settings, by service."""
    services = {name: import_module(f"{name}.settings").Settings for name in service_names()}
    return {**services, "packages": PackageSettings}


@cache
def defaults() -> dict[str, tuple[str | None, str | None]]:
    """Return the default of every setting, and its default in development, as texts."""
    return {
        variable.name: (variable.default, variable.development)
        for service, struct in reversed(settings().items())
        for section in reference(struct, service=service).sections
        for variable in section.variables
    }


def documents() -> list[Path]:
    found = [path for path in ROOT.rglob("*.md") if not {".venv", ".data", "node_modules"} & set(path.parts)]
    names = {path: path.relative_to(ROOT).as_posix() for path in found}
    return sorted(
        path for path, name in names.items() if name not in GENERATED and not name.startswith("changes/")
    )


def lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield number and text of each line that is not generated, and whether it is part of a code block."""
    is_code = is_generated = False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        is_code ^= line.lstrip().startswith("```")
        is_generated = line.startswith("<!-- generated: ") or (
            is_generated and line != "<!-- end of the generated part -->"
        )
        if not is_generated:
            yield number, line, is_code


def table_claims(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield place, names and values of each row of a table of variables and their defaults."""
    is_table = False
    for number, line, _ in lines(path):
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("|") and cells[:2] == ["variable", "default"]:
            is_table = True
        elif not line.startswith("|"):
            is_table = False
        elif is_table and (names := [name for name in _NAME.findall(cells[0]) if name in defaults()]):
            values = cells[1].split(", ") if len(names) > 1 else [cells[1]]
            yield f"{path.relative_to(ROOT)}:{number}", names, values


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tables_of_variables_have_the_defaults(path: Path) -> None:
    for place, names, values in table_claims(path):
        values = values if len(values) == len(names) else values * len(names)
        for name, value in zip(names, values, strict=True):
            assert is_default(name, value), f"{place}: `{name}` is {value}, not {defaults()[name]}"


def is_default(name: str, value: str) -> bool:
    default, development = defaults()[name]
    stated, _, in_development = value.partition("; ")
    stated = stated.split(", the ", 1)[0].split(": ", 1)[0]
    if in_development and "development" in in_development and development:
        assert development in in_development, (name, value, development)
    if default is None:
        return stated.startswith("required")
    return normal(stated, name) == default or stated.strip("`") == default


def normal(text: str, name: str) -> str:
    """Return a stated value in the form of the settings: in their unit, without quotes."""
    text = text.strip().strip("`")
    if text in WORDS:
        return WORDS[text]
    number, _, unit = text.partition(" ")
    if unit in UNITS and re.fullmatch(r"[\d.]+", number):
        amount = float(number) * UNITS[unit]
        if unit in {"s", "second", "seconds"} and name.startswith("OTEL_"):
            amount *= 1000
        return f"{amount:g}" if amount % 1 else str(int(amount))
    return text


def named(line: str) -> list[str]:
    """Return the settings that a line names."""
    found = [*_NAME.findall(line), *(name for name, _ in _ASSIGNED.findall(line))]
    return [name for name in dict.fromkeys(found) if name in defaults()]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines outside of code blocks and of tables of defaults."""
    in_tables = {place.rpartition(":")[2] for place, _, _ in table_claims(path)}
    for number, line, is_code in lines(path):
        if not is_code and str(number) not in in_tables and "| variable | default |" not in line:
            yield number, line


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_numbers_beside_a_setting_are_its_default(path: Path) -> None:
    document = path.relative_to(ROOT).as_posix()
    for number, line in prose(path):
        names = named(line)
        rest = _LIST.sub("", line)
        for unrelated in UNRELATED.get(document, ()):
            rest = rest.replace(unrelated, "")
        for pattern in (_SUM, _EXIT, _CLOSE_CODE, _DECISION):
            rest = pattern.sub("", rest)
        rest = _STATUS.sub("", _CODE.sub("", _LINK.sub("", rest)))
        for stated in _NUMBER.findall(rest) if names else ():
            value = stated.rstrip(".,")
            assert any(normal(value, name) in defaults()[name] for name in names), (
                f"{document}:{number}: {value} is not the default of {names}; "
                "if it is no claim about the default, add it to UNRELATED"
            )


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_by_default_is_the_default(path: Path) -> None:
    for number, line in prose(path):
        names, line = named(line), _SUM.sub("", line)
        if not names or not re.search(r"\bby default|\bdefaults to", line):
            continue
        stated = _BY_DEFAULT.findall(line) or re.findall(r"defaults to `?([^`,;. ]+)", line)
        place = f"{path.relative_to(ROOT)}:{number}"
        assert stated, f"{place}: write the claim as `VALUE by default` or `defaults to VALUE`"
        for value in stated:
            assert any(normal(value, name) in defaults()[name] for name in names), f"{place}: {value}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sums_are_those_of_the_defaults(path: Path) -> None:
    for number, line in prose(path):
        for first, second, stated in _SUM.findall(line):
            assert int(stated) == seconds(first) + seconds(second), f"{path.relative_to(ROOT)}:{number}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_values_in_examples_are_accepted(path: Path) -> None:
    for number, line, _ in lines(path):
        for name, value in _ASSIGNED.findall(line):
            if name in defaults() and "..." not in value and not value.startswith(("$", "<")):
                problems = refused(name, value.strip("\"'"))
                assert not problems, f"{path.relative_to(ROOT)}:{number}: {problems}"


def refused(name: str, value: str) -> str:
    """Return why the services refuse a value of a setting; empty if one accepts it."""
    found = ""
    for service, struct in settings().items():
        environ = {"ENVIRONMENT": "development", "DATABASE_URL": "postgresql://u:p@127.0.0.1/d", name: value}
        try:
            load(struct, environ, service=service)
        except ConfigurationError as error:
            stated = [text.strip() for text in str(error).splitlines()]
            # Not one that depends on another setting, which the example may have elsewhere.
            found = "\n".join(each for each in stated if each.startswith(f"{name} ") and ", but " not in each)
        else:
            return ""
    return found


def seconds(name: str) -> int:
    return int(defaults()[name][0] or "")


def test_the_timeline_of_a_stop_has_the_default_durations() -> None:
    text = (ROOT / "docs/lifecycle.md").read_text()
    drained = seconds("DRAIN_DELAY_SECONDS")
    finished = drained + seconds("SHUTDOWN_GRACE_SECONDS")
    flushed = finished + seconds("SHUTDOWN_FLUSH_SECONDS")

    times = re.findall(r"t \+ (\d+) s", next(line for line in text.splitlines() if line.startswith("t  ")))
    assert times[:3] == [str(drained), str(finished), str(flushed)]
    assert f"(up to {2 * seconds('REQUEST_TIMEOUT_SECONDS')} s)" in text
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    graces = {each.get("stop_grace_period") for each in compose["services"].values()} - {None}
    assert f"stop_grace_period: {times[-1]}s" in text
    assert f"{times[-1]}s" in graces


def test_the_guides_agree_about_sampling() -> None:
    collector = yaml.safe_load((ROOT / "deploy/observability/collector.yaml").read_text())
    policies = {each["name"]: each for each in _policies(collector)}
    kinds = {each["type"]: each for each in policies.values()}
    monitoring = (ROOT / "docs/observability.md").read_text()
    kubernetes = (ROOT / "docs/kubernetes.md").read_text()

    assert defaults()["OTEL_TRACES_SAMPLER"][0] == "parentbased_always_on"
    assert not [
        path for path in (ROOT / "deploy").rglob("*.env") if "OTEL_TRACES_SAMPLER" in path.read_text()
    ]
    assert "The production overlay sends every trace and leaves sampling to the collector" in monitoring
    assert "Services send every trace, and the collector decides which to keep" in kubernetes
    assert kinds["probabilistic"]["probabilistic"]["sampling_percentage"] == 10
    assert (
        "all that failed or were slower than the strictest objective, one in ten of the others" in monitoring
    )
    assert "all that failed or were slow, and one in ten of the others" in kubernetes


def _policies(collector: dict[str, Any]) -> Iterator[dict[str, Any]]:
    [processor] = [
        each for name, each in collector["processors"].items() if name.partition("/")[0] == "tail_sampling"
    ]
    yield from processor["policies"]


@pytest.mark.parametrize(
    ("kept", "file", "setting"),
    [
        ("traces", "deploy/observability/tempo.yaml", r"block_retention: (\w+)"),
        ("log lines", "deploy/observability/loki.yaml", r"retention_period: (\w+)"),
    ],
)
def test_the_retention_is_the_configured_one(kept: str, file: str, setting: str) -> None:
    text = (ROOT / "docs/observability.md").read_text()
    found = re.search(setting, (ROOT / file).read_text())
    assert found is not None
    amount, unit = int(found[1][:-1]), found[1][-1]

    days = amount if unit == "d" else amount // 24
    assert re.search(rf"^\| {kept} \| {days} days\b", text, re.MULTILINE)
