"""Report of a run: each contender against the bare one, and the whole chassis against the other stacks."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from ..load import Quartiles, Round, compared
from .contender import CONTENDERS

HEADLINE = "starkeel"
"""The contender that a user of Starkeel runs; the others are compared with it."""
_BASELINE = "litestar_bare"
_OTHER_STACKS = ("litestar_plugins", "fastapi_otel", "fastify_otel")
_WIDTH, _ROW, _LEFT, _BAR = 860, 44, 20, 520
_STYLE = "font: 13px sans-serif; fill: #444"
_COLOURS = {HEADLINE: "#1f77b4", "starkeel_telemetry": "#9ec5e6", "starkeel_otel_sdk": "#9ec5e6"}

Rounds = Mapping[str, list[Round]]


def report(rounds: Rounds) -> Iterator[str]:
    """Yield the lines of the report."""
    for name, done in rounds.items():
        yield f"\n{name}: {CONTENDERS[name].title}, {sum(each.requests for each in done)} requests"
        yield f"  {Quartiles.of(each.cpu_us for each in done):.1f} us of CPU per request"
        if name != _BASELINE and _BASELINE in rounds:
            bare = rounds[_BASELINE]
            yield f"  {compared(bare, done, lambda b, o: b.cpu_us / o.cpu_us):.3f} of bare, by CPU time"
            yield f"  {compared(bare, done, lambda b, o: o.per_s / b.per_s):.3f} of bare, by throughput"
            yield f"  {compared(bare, done, lambda b, o: o.cpu_us - b.cpu_us):.1f} us more than bare"
    for name in _OTHER_STACKS:
        if name in rounds and HEADLINE in rounds:
            cpu = compared(rounds[HEADLINE], rounds[name], lambda h, o: o.cpu_us / h.cpu_us)
            speed = compared(rounds[HEADLINE], rounds[name], lambda h, o: h.per_s / o.per_s)
            yield f"\n{HEADLINE} against {name}: {cpu:.2f} times by CPU time, {speed:.2f} times by throughput"


def plot(path: Path, rounds: Rounds) -> None:
    """Write an SVG: a bar for the median CPU time of each contender, with a line for its quartiles."""
    bars = {name: Quartiles.of(each.cpu_us for each in done) for name, done in rounds.items()}
    scale = _BAR / max(bar.high for bar in bars.values())
    rows = [_row(number, *bar, scale=scale) for number, bar in enumerate(bars.items())]
    height = _ROW * len(bars) + 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    title = f'<text x="{_LEFT}" y="20" style="{_STYLE}">CPU time per request, in microseconds</text>'
    path.write_text("\n".join([head, title, *rows, "</svg>", ""]))


def _row(number: int, name: str, bar: Quartiles, *, scale: float) -> str:
    low, median, high = (value * scale for value in bar)
    top = 32 + number * _ROW
    style = f"{_STYLE}; font-weight: bold" if name == HEADLINE else _STYLE
    colour = _COLOURS.get(name, "#999999")
    return "\n".join(
        [
            f'<text x="{_LEFT}" y="{top + 12}" style="{style}">{escape(CONTENDERS[name].title)}</text>',
            f'<rect x="{_LEFT}" y="{top + 17}" width="{median:.1f}" height="14" fill="{colour}"/>',
            f'<path d="M{_LEFT + low:.1f} {top + 24}H{_LEFT + high:.1f}" stroke="black"/>',
            f'<text x="{_LEFT + high + 8:.1f}" y="{top + 29}" style="{style}">{bar.median:.0f}</text>',
        ]
    )
