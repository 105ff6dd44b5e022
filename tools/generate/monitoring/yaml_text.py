"""Documents as YAML."""

from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]  # has no types


def dumped(document: Mapping[str, Any], *, width: int = 110) -> str:
    """Return a document as YAML, with its keys in their order.

    Args:
        document: The document.
        width: Columns after which plain text is continued on the next line.
    """
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # has no types
    """Writes repeated values in full, as not every reader supports aliases, and long texts as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _represent_str(dumper: _Dumper, text: str) -> object:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)
