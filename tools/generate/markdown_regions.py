"""Parts of Markdown files that are generated, between two comment lines; the rest is written by hand."""

import re
from collections.abc import Mapping

_REGION = re.compile(
    r"^<!-- generated: (?P<name>[^\n]+) -->\n.*?^<!-- end of the generated part -->$",
    re.MULTILINE | re.DOTALL,
)


def filled(file: str, text: str, parts: Mapping[str, str]) -> str:
    """Return a text with its current generated parts.

    Args:
        file: Name of the file, for errors.
        text: Its text.
        parts: Every generated part by name.

    Raises:
        SystemExit: A part is missing in the text, or nothing generates one that it has.
    """
    found = [region["name"] for region in _REGION.finditer(text)]
    if missing := [name for name in parts if name not in found]:
        raise SystemExit(f"{file}: has no part {missing[0]!r}; write `<!-- generated: {missing[0]} -->`")
    if unknown := [name for name in found if name not in parts]:
        raise SystemExit(f"{file}: nothing generates {unknown[0]!r}; known: {', '.join(parts)}")

    def fill(region: re.Match[str]) -> str:
        name = region["name"]
        return f"<!-- generated: {name} -->\n{parts[name].strip()}\n<!-- end of the generated part -->"

    return _REGION.sub(fill, text)
