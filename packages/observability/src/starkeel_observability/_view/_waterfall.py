"""A request as a waterfall: a line for each span, a bar for when it ran."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ._spans import Request, Row, SeenSpan

_NARROWEST: Final = 60
_WIDEST: Final = 120
_DURATION: Final = 9
_SERVICE: Final = 9
_MOST_ROWS: Final = 40
_DEEPEST: Final = 8
_COLOURS: Final = (36, 35, 33, 32, 34)
_RED: Final = 31
_DIM: Final = 2
_BOLD: Final = 1
_PARTS: Final = " ▏▎▍▌▋▊▉"
_ASCII: Final = str.maketrans("└├│█▏▎▍▌▋▊▉…·✗", "`||########.-x")


class Waterfall:
    """Draws requests.

    Args:
        width: Columns of the terminal.
        colours: Whether it understands ANSI colours.
        services: Their names, in the order of their colours.
        is_ascii: Whether it shows nothing but ASCII.
    """

    def __init__(
        self, *, width: int = 80, colours: bool = False, services: list[str], is_ascii: bool = False
    ) -> None:
        self._width = max(_NARROWEST, min(_WIDEST, width))
        self._colours = colours
        self._of = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(services)}
        self._is_ascii = is_ascii
        self._bar = (self._width - _SERVICE - _DURATION - 3) * 2 // 5
        self._label = self._width - _SERVICE - _DURATION - self._bar - 3

    def drawn(self, request: Request) -> Iterator[str]:
        """The lines of a request.

        Args:
            request: That is drawn.
        """
        yield self._line([(self._title(request), _RED if request.is_failed else _BOLD)])
        yield self._line([(self._subtitle(request), _DIM)])
        for row in request.rows[:_MOST_ROWS]:
            yield self._row(row, request)
            error = _error(row.span)
            if error:
                yield self._line([(_cut(f"{'  ' * min(row.depth, _DEEPEST)}  ✗ {error}", self._width), _RED)])
        if len(request.rows) > _MOST_ROWS:
            yield self._line([(f"  … {len(request.rows) - _MOST_ROWS} more spans", _DIM)])

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

    def _row(self, row: Row, request: Request) -> str:
        span = row.span
        guides = row.guides if row.depth <= _DEEPEST else "… " + row.guides[-2 * _DEEPEST :]
        colour = _RED if span.is_failed else self._of.get(span.service, _COLOURS[0])
        return self._line(
            [
                (f"{_cut(guides + span.name, self._label):<{self._label}} ", 0),
                (f"{_cut(span.service, _SERVICE):<{_SERVICE}} ", colour),
                (f"{self._drawn_bar(span, request):<{self._bar}} ", colour),
                (f"{duration(span.duration_ns):>{_DURATION}}", 0),
            ]
        )

    def _drawn_bar(self, span: SeenSpan, request: Request) -> str:
        began, whole = request.root.start_ns, max(1, request.end_ns - request.root.start_ns)
        # Clocks of two machines may differ: what seems to lie outside is moved to the edge.
        start = min(max(0, span.start_ns - began), whole) * self._bar / whole
        length = max(0, span.duration_ns) * self._bar / whole
        offset = min(int(start), self._bar - 1)
        eighths = round(min(length, self._bar - offset) * 8)
        full, rest = divmod(max(1, eighths), 8)
        return " " * offset + "█" * full + (_PARTS[rest] if rest else "")

    def _line(self, parts: list[tuple[str, int]]) -> str:
        shown = [(_visible(text), colour) for text, colour in parts]
        line = "".join(
            f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text for text, colour in shown
        ).rstrip()
        return line.translate(_ASCII) if self._is_ascii else line


def duration(nanoseconds: int) -> str:
    """A duration with three digits that matter."""
    is_long = nanoseconds >= 1_000_000_000
    value = max(0, nanoseconds) / (1_000_000_000 if is_long else 1_000_000)
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {'s' if is_long else 'ms'}"


def _error(span: SeenSpan) -> str:
    """What went wrong, in the span where it did."""
    for event in span.events:
        if event.name == "exception":
            kind, message = (event.attributes.get(f"exception.{part}", "") for part in ("type", "message"))
            return f"{kind}: {message}".rstrip(": ")
    return str(span.attributes.get("error.type", "")) if span.is_failed else ""


def _visible(text: str) -> str:
    """A text in one line, whatever is in it: what terminals obey is not for others to send."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
