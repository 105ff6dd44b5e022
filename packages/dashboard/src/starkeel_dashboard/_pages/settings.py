"""Effective settings of all services beside each other."""

from typing import Any

import msgspec

from .._sources.services import Services, Setting


class SettingRow(msgspec.Struct):
    """A variable with its value in each service; `None` where a service does not have it."""

    variable: str
    values: list[Setting | None]

    @property
    def is_different(self) -> bool:
        """Return whether services that have it differ in its value."""
        return len({each.value for each in self.values if each}) > 1

    @property
    def is_changed(self) -> bool:
        """Return whether it is not the default in any service."""
        return any(each.source != "default" for each in self.values if each)


def settings_page(services: Services, *, shown: str, text: str) -> dict[str, Any]:
    """Return the values of the page.

    Args:
        services: Services with their settings.
        shown: `changed` or `different`; anything else shows all.
        text: Part of a variable's name or value.
    """
    members = [service for service in services if service.settings]
    by_service = [{setting.variable: setting for setting in service.settings} for service in members]
    names = list(dict.fromkeys(name for settings in by_service for name in settings))
    rows = [SettingRow(name, [settings.get(name) for settings in by_service]) for name in names]
    return {
        "members": members,
        "rows": [row for row in rows if _is_shown(row, shown, text.lower())],
        "shown": shown,
        "text": text,
    }


def _is_shown(row: SettingRow, shown: str, text: str) -> bool:
    if shown == "different" and not row.is_different:
        return False
    if shown == "changed" and not row.is_changed:
        return False
    values = " ".join(each.value for each in row.values if each)
    return text in f"{row.variable} {values}".lower()
