"""The handler on FastAPI with OpenTelemetry, prometheus-instrumentator and JSON logs."""

import os
import sys

import uvicorn
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_fastapi_instrumentator import Instrumentator

LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(message)s",
        }
    },
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
    },
    "loggers": {name: {"handlers": ["out"], "level": "INFO"} for name in ("uvicorn", "uvicorn.access")},
}

_provider = TracerProvider()
_endpoint = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(_endpoint), max_queue_size=100_000))
trace.set_tracer_provider(_provider)
app = FastAPI(openapi_url=None)
Instrumentator().instrument(app).expose(app)


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


FastAPIInstrumentor.instrument_app(app)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", log_config=LOGS)
