"""Waterfall of a request: one line per span, with a bar for its time."""

from collections.abc import Iterator
from datetime import datetime

from .spans import Request, Row, SeenSpan

_MIN_WIDTH = 60
_MAX_WIDTH = 120
_DURATION_WIDTH = 9
_SERVICE_WIDTH = 9
_MAX_ROWS = 40
_MAX_DEPTH = 8
_COLOURS = (36, 35, 33, 32, 34)
_RED = 31
_DIM = 2
_BOLD = 1
_PARTS = " ▏▎▍▌▋▊▉"
_ASCII = str.maketrans("└├│█▏▎▍▌▋▊▉…·✗", "`||########.-x")


class Waterfall:
    """Draws requests.

    Args:
        width: Columns of the terminal; limited to 60 to 120.
        colours: Whether to emit ANSI colours.
        services: Service names, in the order of their colours.
        is_ascii: Whether to use ASCII characters only.
    """

    def __init__(
        self, *, width: int = 80, colours: bool = False, services: list[str], is_ascii: bool = False
    ) -> None:
        self._width = max(_MIN_WIDTH, min(_MAX_WIDTH, width))
        self._colours = colours
        self._of = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(services)}
        self._is_ascii = is_ascii
        self._bar = (self._width - _SERVICE_WIDTH - _DURATION_WIDTH - 3) * 2 // 5
        self._label = self._width - _SERVICE_WIDTH - _DURATION_WIDTH - self._bar - 3

    def draw(self, request: Request) -> Iterator[str]:
        """Yield the lines of a request."""
        yield self._line((self._title(request), _RED if request.root.is_failed else _BOLD))
        yield self._line((self._subtitle(request), _DIM))
        end_ns = max(row.span.end_ns for row in request.rows)
        for row in request.rows[:_MAX_ROWS]:
            yield self._row(row, request.root.start_ns, end_ns)
            if error := _error(row.span):
                indent = "  " * min(row.depth, _MAX_DEPTH)
                yield self._line((_cut(f"{indent}  ✗ {error}", self._width), _RED))
        if len(request.rows) > _MAX_ROWS:
            yield self._line((f"  … {len(request.rows) - _MAX_ROWS} more spans", _DIM))

    def _title(self, request: Request) -> str:
        root = request.root
        status = root.attributes.get("http.response.status_code", "")
        left = " ".join(part for part in (root.service, "·", root.name, str(status)) if part)
        right = duration(root.duration_ns)
        return f"{_cut(left, self._width - len(right) - 1):<{self._width - len(right)}}{right}"

    def _subtitle(self, request: Request) -> str:
        root = request.root
        began = datetime.fromtimestamp(root.start_ns / 1e9).astimezone().strftime("%H:%M:%S")
        path = str(root.attributes.get("url.path", ""))
        return _cut(" ".join(part for part in (began, f"trace {root.trace_id}", path) if part), self._width)

    def _row(self, row: Row, start_ns: int, end_ns: int) -> str:
        span = row.span
        guides = row.guides if row.depth <= _MAX_DEPTH else "… " + row.guides[-2 * _MAX_DEPTH :]
        colour = _RED if span.is_failed else self._of.get(span.service, _COLOURS[0])
        return self._line(
            (f"{_cut(guides + span.name, self._label):<{self._label}} ", 0),
            (f"{_cut(span.service, _SERVICE_WIDTH):<{_SERVICE_WIDTH}} ", colour),
            (f"{self._bar_text(span, start_ns, end_ns):<{self._bar}} ", colour),
            (f"{duration(span.duration_ns):>{_DURATION_WIDTH}}", 0),
        )

    def _bar_text(self, span: SeenSpan, start_ns: int, end_ns: int) -> str:
        whole = max(1, end_ns - start_ns)
        # Clocks may differ between machines: a span outside the request is moved to its edge.
        start = min(max(0, span.start_ns - start_ns), whole) * self._bar / whole
        length = max(0, span.duration_ns) * self._bar / whole
        offset = min(int(start), self._bar - 1)
        eighths = round(min(length, self._bar - offset) * 8)
        full, rest = divmod(max(1, eighths), 8)
        return " " * offset + "█" * full + (_PARTS[rest] if rest else "")

    def _line(self, *parts: tuple[str, int]) -> str:
        shown = [(_visible(text), colour) for text, colour in parts]
        line = "".join(
            f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text for text, colour in shown
        ).rstrip()
        return line.translate(_ASCII) if self._is_ascii else line


def duration(nanoseconds: int) -> str:
    """Format a duration with three significant digits."""
    is_long = nanoseconds >= 1_000_000_000
    value = max(0, nanoseconds) / (1_000_000_000 if is_long else 1_000_000)
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {'s' if is_long else 'ms'}"


def _error(span: SeenSpan) -> str:
    """Return the exception, or the error type of a failed span."""
    for event in span.events:
        if event.name == "exception":
            kind, message = (event.attributes.get(f"exception.{part}", "") for part in ("type", "message"))
            return f"{kind}: {message}".rstrip(": ")
    return str(span.attributes.get("error.type", "")) if span.is_failed else ""


def _visible(text: str) -> str:
    """Replace control characters, which could be terminal escape sequences."""
    return "".join(character if character.isprintable() else " " for character in text)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
