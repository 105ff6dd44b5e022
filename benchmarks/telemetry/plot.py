"""A picture of what was measured: a bar for each contender, and a whisker for its quartiles."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

_WIDTH, _ROW, _LEFT, _BAR = 860, 44, 20, 520
_STYLE = "font: 13px sans-serif; fill: #444"


def plot(path: Path, bars: Mapping[str, tuple[float, float, float]]) -> None:
    """Write it as SVG.

    Args:
        path: Where to.
        bars: Lower quartile, median and upper quartile of each, in microseconds of CPU time a request.
    """
    longest = max(high for _, _, high in bars.values())
    rows = [_row(number, *bar, scale=_BAR / longest) for number, bar in enumerate(bars.items())]
    height = _ROW * len(bars) + 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    title = f'<text x="{_LEFT}" y="20" style="{_STYLE}">CPU time of a request, in microseconds</text>'
    path.write_text("\n".join([head, title, *rows, "</svg>", ""]))


def _row(number: int, name: str, spread: tuple[float, float, float], *, scale: float) -> str:
    low, middle, high = (value * scale for value in spread)
    top = 32 + number * _ROW
    colour = "#1f77b4" if number in {1, 2} else "#999999"
    return "\n".join(
        [
            f'<text x="{_LEFT}" y="{top + 12}" style="{_STYLE}">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top + 17}" width="{middle:.1f}" height="14" fill="{colour}"/>',
            f'<path d="M{_LEFT + low:.1f} {top + 24}H{_LEFT + high:.1f}" stroke="black"/>',
            f'<text x="{_LEFT + high + 8:.1f}" y="{top + 29}" style="{_STYLE}">{spread[1]:.0f}</text>',
        ]
    )
