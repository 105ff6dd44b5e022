"""The tables of settings in `packages/*/README.md`, from the settings classes."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from starkeel_config import Documented, Settings, reference

from .markdown_regions import filled

CLASSES = {
    "auth": "starkeel_auth:AuthSettings",
    "client": "starkeel_client:UpstreamSettings",
    "db": "starkeel_db:DatabaseSettings",
    "http": "starkeel_http:HttpSettings",
    "jobs": "starkeel_jobs:JobSettings",
    "mail": "starkeel_mail:MailSettings",
    "messaging": "starkeel_messaging:MessagingSettings",
    "observability": "starkeel_observability:ObservabilitySettings",
    "server": "starkeel_server:ServerSettings",
}
"""Settings class of each package that has one."""


def files(root: Path) -> dict[Path, str | None]:
    """Return the READMEs by path.

    Raises:
        SystemExit: A README has no part for its settings, or a variable has no description.
    """
    found: dict[Path, str | None] = {}
    for package, location in CLASSES.items():
        path = root / "packages" / package / "README.md"
        if path.exists():
            name = path.relative_to(root).as_posix()
            found[path] = filled(name, path.read_text("utf-8"), {"settings": _table(location)})
    return found


def variables(location: str) -> list[Documented]:
    """Return the variables of a settings class, given as `module:Class`."""
    module, _, name = location.partition(":")
    struct = getattr(import_module(module), name)
    assert issubclass(struct, Settings)
    described = reference(struct, service="{service}")
    if missing := described.undocumented():
        raise SystemExit(f"{location}: describe {', '.join(missing)} by a string below the field")
    return [variable for section in described.sections for variable in section.variables]


def _table(location: str) -> str:
    rows = [("variable", "meaning", "accepted", "default"), ("---",) * 4, *_rows(variables(location))]
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _rows(documented: Sequence[Documented]) -> Iterator[tuple[str, ...]]:
    for variable in documented:
        meaning = " ".join(variable.description.split())
        yield f"`{variable.name}`", meaning, variable.accepts, _default(variable)


def _default(variable: Documented) -> str:
    production = "required" if variable.default is None else _code(variable.default)
    if variable.development is None:
        return production
    return f"{production}; in development {_code(variable.development)}"


def _code(value: str) -> str:
    return f"`{value}`" if value else "not set"


def _escaped(text: str) -> str:
    # Outside backticks a < would start a tag.
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))
