"""Sending a live event has a span that is linked to the trace of the order."""

from collections.abc import Callable
from typing import Any

from starkeel_testing import OtlpReceiver, Service, running

from .test_orders_live import listening, watching

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_spans_of_live_events_are_linked_to_the_origin_of_the_event(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    new_person: Callable[[], Any],
    otlp: OtlpReceiver,
) -> None:
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    ada = new_person()
    with running("orders", orders_env(accounts) | telemetry | {"WORKERS": "2"}) as service:
        with watching(service, ada) as stream, listening(service, ada) as socket:
            response = service.client.post(
                "/api/orders",
                json={"product_type": "anchor", "quantity": 1},
                headers=ada.placing | {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"},
            )
            assert response.status_code == 201
            stream.next()
            socket.recv(timeout=10)
        received = otlp.wait_for(
            lambda spans: (
                sum(span.name == "receive order.created" for span in spans) == 2
                and {"POST /api/orders", "GET /api/orders/events", "GET /api/orders/live"}
                <= {span.name for span in spans}
            )
        )

    (placed,) = [span for span in received if span.name == "POST /api/orders"]
    for route in ("/api/orders/events", "/api/orders/live"):
        (request,) = [span for span in received if span.name == f"GET {route}"]
        (consumer,) = [s for s in received if s.kind == "consumer" and s.parent_span_id == request.span_id]
        assert consumer.name == "receive order.created"
        assert consumer.trace_id == request.trace_id != TRACE_ID
        assert consumer.links == ((TRACE_ID, placed.span_id),)
        assert consumer.attributes["messaging.message.id"].isdigit()
