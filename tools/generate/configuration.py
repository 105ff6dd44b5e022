"""Documentation of all settings: `docs/configuration.md` and `.env.example`."""

from importlib import import_module
from pathlib import Path

from starkeel_config import Reference, Settings, reference, render_env_example, render_markdown

from ..service_error import described


def files(root: Path) -> dict[Path, str | None]:
    """Return the files by path.

    Raises:
        ServiceError: The code of a service fails.
        SystemExit: There is no service, or it has no settings class or a variable without a description.
    """
    services = sorted(path.parent.name for path in root.glob("services/*/src/*/settings.py"))
    if not services:
        raise SystemExit("no service has a settings.py below services/*/src/*/")
    references = [_reference_of(service) for service in services]
    return {
        root / "docs" / "configuration.md": render_markdown(references),
        root / ".env.example": render_env_example(references),
    }


def _reference_of(service: str) -> Reference:
    with described(service):
        struct = getattr(import_module(f"{service}.settings"), "Settings", None)
    if not (isinstance(struct, type) and issubclass(struct, Settings)):
        raise SystemExit(f"{service}.settings has no class Settings based on starkeel_config.Settings")
    found = reference(struct, service=service)
    if found.undocumented():
        names = ", ".join(found.undocumented())
        raise SystemExit(f"{service}: describe these by a string below their fields: {names}")
    return found
