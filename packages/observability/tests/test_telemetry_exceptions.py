"""Recording of exceptions that leave the block of a span."""

import pytest
from opentelemetry.trace import StatusCode
from starkeel_observability._traces.provider import Provider
from starkeel_observability._traces.span import RecordedSpan
from starkeel_observability._traces.tracer import sampler


@pytest.mark.parametrize("by", ["start_span", "start_as_current_span"])
@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("sets_status", [True, False])
def test_exceptions_are_recorded_as_configured(by: str, records: bool, sets_status: bool) -> None:
    ended: list[RecordedSpan] = []
    tracer = Provider(sampler("always_on", 1), ended.append).get_tracer("test")
    begin = getattr(tracer, by)

    with (
        pytest.raises(KeyError),
        begin("charge", record_exception=records, set_status_on_exception=sets_status),
    ):
        raise KeyError("card")

    (span,) = ended
    assert [event[1] for event in span.events or ()] == (["exception"] if records else [])
    assert span.status is (StatusCode.ERROR if sets_status else StatusCode.UNSET)


def test_exceptions_are_recorded_by_default() -> None:
    ended: list[RecordedSpan] = []
    tracer = Provider(sampler("always_on", 1), ended.append).get_tracer("test")

    with pytest.raises(KeyError), tracer.start_span("charge"):
        raise KeyError("card")

    assert ended[0].status is StatusCode.ERROR
    assert len(ended[0].events or ()) == 1
