"""Rows about the stop of a service with open event streams and WebSockets."""

from functools import partial

from .._drill.drill import Drill
from .._drill.streams import stop_with_streams
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed

_GOING_AWAY = (1001, 1012)


def _event_stream(drill: Drill) -> Judgement:
    if not drill.keys.stream_path:
        raise Undecided("Set drill.stream_path to an event stream in seatrial.toml.")
    exchange = stop_with_streams(drill).stream
    assert exchange is not None
    evidence = exchange.evidence("event stream")
    response = exchange.responses[0]
    if response.status != 200:
        raise Undecided(f"The event stream is answered {response.status}: correct drill.stream_path.")
    if "chunked" not in response.get("transfer-encoding").lower():
        return failed(
            "The stream is not chunked: a client cannot distinguish its end from a fault.", evidence
        )
    if not response.is_complete:
        return failed("The stream was cut without the last chunk.", evidence)
    return passed("The stream ended with the last chunk.", evidence)


def _websocket(drill: Drill) -> Judgement:
    if not drill.keys.websocket_path:
        raise Undecided("Set drill.websocket_path to a WebSocket in seatrial.toml.")
    found = stop_with_streams(drill)
    if found.upgrade_problem:
        raise Undecided(f"The WebSocket does not open, {found.upgrade_problem}: set drill.websocket_path.")
    if found.close_code is None:
        return failed("The WebSocket was cut without a close frame.")
    if found.close_code not in _GOING_AWAY:
        return failed(f"The close frame has code {found.close_code}, not 1001 or 1012.")
    return passed(f"The close frame has code {found.close_code}.")


_KUBERNETES = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"
_row = partial(Row[Drill], category=Category.LIFECYCLE, command="drill", source=_KUBERNETES)

ROWS = (
    _row(
        id="lifecycle-event-stream",
        title="Event streams end with a complete body",
        severity=Severity.MEDIUM,
        why="A client repeats a stream from its last event if it ended well. "
        "A cut body is an error of the network to proxies and clients.",
        source="RFC 9112, section 7.1; https://www.rfc-editor.org/rfc/rfc9112#section-7.1",
        how="drill.stream_path is open during SIGTERM; its body ends with the last chunk.",
        fix="End the generators of streams when the stop begins.",
        remedies=(
            Remedy(
                "FastAPI/uvicorn", "Check a shutdown flag in the generator; uvicorn cancels it otherwise."
            ),
        ),
        lane="beside",
        judge=_event_stream,
    ),
    _row(
        id="lifecycle-websocket",
        title="WebSockets get a close frame with 1001 or 1012",
        severity=Severity.MEDIUM,
        why="Clients reconnect at once after 1012 and 1001. "
        "Without a frame they see an abnormal end, and wait or give up.",
        source="RFC 6455, section 7.4.1; https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1",
        how="drill.websocket_path is open during SIGTERM; a close frame has code 1001 or 1012.",
        fix="Send a close frame with 1012 (service restart) to all WebSockets when the stop begins.",
        lane="beside",
        judge=_websocket,
    ),
)
