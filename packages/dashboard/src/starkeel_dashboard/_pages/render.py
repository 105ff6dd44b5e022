"""Templates and the formats of times, durations and numbers."""

import math
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

_MAX_NS: Final = 253_402_300_799 * 10**9
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@cache
def _environment() -> Environment:
    # Every value is escaped: no template marks anything as safe.
    environment = Environment(
        loader=PackageLoader("starkeel_dashboard._pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {
        "clock": clock,
        "moment": moment,
        "milliseconds": milliseconds,
        "number": number,
        "hexadecimal": bytes.hex,
        "visible": _visible,
    }
    return environment


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: Name of the template without `.html`.
        values: Values of the template.
    """
    return _environment().get_template(f"{template}.html").render(values)


def static_file(name: str) -> bytes:
    """Return a file of the pages.

    Raises:
        FileNotFoundError: There is no such file.
    """
    return (files("starkeel_dashboard._pages") / "static" / name).read_bytes()


def _visible(value: Any) -> Any:
    """Return a text with control characters and those that change the direction of text escaped."""
    if type(value) is str:
        return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return value


def moment(nanoseconds: int) -> str:
    """Format nanoseconds since 1970 in UTC with the date."""
    at = datetime.fromtimestamp(min(max(0, nanoseconds), _MAX_NS) // 10**9, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{nanoseconds % 10**9 // 10**6:03d} UTC"


def clock(nanoseconds: int) -> str:
    """Format nanoseconds since 1970 as a time of day in UTC."""
    return moment(nanoseconds)[11:23]


def milliseconds(value: float) -> str:
    """Format a duration in milliseconds with three significant digits."""
    value = max(0.0, value)
    if value >= 60_000:
        return f"{value / 60_000:.1f} min"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} ms"


def number(value: float) -> str:
    """Format a number briefly."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-"
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):.1f} {suffix}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"
